"""One node on one host: it joins, is killed, goes on, and ends when it is asked to."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from qsynth.cli.main import main
from qsynth.errors import ConfigError, StateError
from qsynth.host.daemon import check_agreed, check_card
from qsynth.host.mesh_host import MeshHost
from qsynth.host.recorder import Recorder
from qsynth.host.server import Card
from qsynth.host.watcher import Watcher
from qsynth.identity.authority import Authority
from qsynth.identity.file import identity_of
from qsynth.protocol.effects import Effects
from qsynth.protocol.journal import Entry
from qsynth.training.checkpoint import Checkpoints
from qsynth.types import Task
from tests.commands import Command
from tests.protocol.test_node import mesh

SMALL = [
    "+recipe=digits_mesh",
    "mesh=tcp",
    "peers=all",
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "trainer.period_steps=10",
    "trainer.max_steps=4000",
    "trainer.checkpoint_s=1",
]
PATIENCE_S = 240.0


class Host:
    """A process that is one node."""

    def __init__(self, folder: Path, share: int, *overrides: str) -> None:
        self.home, self.lines = folder / str(share), []
        words = ["node", "up", "--home", str(self.home), "--share", str(share), *SMALL, *overrides]
        self.log = (folder / f"{share}-{time.monotonic()}.log").open("w+")
        self.process = Command(*words, log=self.log)

    def said(self, words: str) -> str:
        """Wait for a line, and return it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            text = self.text()
            for line in text.splitlines():
                if words in line:
                    return line
            assert self.process.poll() is None, text
            time.sleep(0.05)
        raise AssertionError(f"never said {words!r}: {self.text()}")

    def text(self) -> str:
        return Path(self.log.name).read_text()

    def events(self, kind: str) -> list[dict]:
        path = next(self.home.glob("nodes/*/events.jsonl"), None)
        lines = path.read_text().splitlines() if path else []
        whole = [json.loads(line) for line in lines if line.endswith("}")]
        return [event for event in whole if event["event"] == kind]

    def waits_for(self, kind: str) -> list[dict]:
        deadline = time.monotonic() + PATIENCE_S
        while not self.events(kind):
            assert time.monotonic() < deadline, self.text()
            assert self.process.poll() is None, self.text()
            time.sleep(0.02)
        return self.events(kind)

    def end(self, how: int) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(timeout=PATIENCE_S)
        self.log.close()
        return code


@pytest.mark.slow
def test_a_node_that_is_killed_goes_on_with_all_it_had(tmp_path: Path) -> None:
    first = Host(tmp_path, 0)
    hosts = [first]
    try:
        address = first.said("listens at").split()[-1]
        second = Host(tmp_path, 1, f"mesh.join=[{address}]")
        hosts.append(second)
        second.said("joined through")
        second.waits_for("admit")
        deadline = time.monotonic() + PATIENCE_S
        while not (second.home / "checkpoint.ckpt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert second.end(signal.SIGKILL) == -signal.SIGKILL
        versions = [event["version"] for event in second.events("publish")]
        identity = second.events("started")[0]["id"]

        again = Host(tmp_path, 1, f"mesh.join=[{address}]")
        hosts.append(again)
        line = again.said("goes on:")
        assert f"packet {versions[-1]}, 1 packets of others" in line
        again.said("training goes on from")
        said = again.text()
        assert said.index("listens at") < said.index("training goes on")
        again.said("joined through")
        again.said("packets of")
        assert "learns from" in again.said("learns from")
        twice = Host(tmp_path, 1)
        hosts.append(twice)
        assert twice.process.wait(timeout=PATIENCE_S) == 1
        assert "another process is using it" in twice.text()
        assert again.end(signal.SIGTERM) == 0
        assert "what it knows is kept" in Path(again.log.name).read_text()
        assert {event["id"] for event in again.events("started")} == {identity}
        every = [event["version"] for event in again.events("publish")]
        assert len(set(every)) == len(every)
        assert first.end(signal.SIGTERM) == 0
    finally:
        for host in hosts:
            host.end(signal.SIGKILL)


@pytest.mark.slow
def test_a_node_on_duty_gets_a_certificate_too(tmp_path: Path, capsys) -> None:
    own = ["trainer.max_steps=40", "partition.audit_share=.25", "publish=ask"]
    host = Host(tmp_path, 2, *own)
    try:
        host.said("trained; its predictor is")
        assert host.end(signal.SIGTERM) == 0
    finally:
        host.end(signal.SIGKILL)
    shared = [path for path in [host.home, *host.home.rglob("*")] if path.stat().st_mode & 0o077]
    assert shared == [], "others may read what a node keeps"
    words = ["node", "certificate", "--home", str(host.home), "--share", "2", *SMALL, *own]
    assert main([*words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["identity"] == host.events("started")[0]["id"]
    assert made["gain"] == 0.0, "it knew nobody"
    assert made["authors"] == []
    assert "cannot be excluded" in made["harm"]
    (page,) = host.home.glob("nodes/*/certificate.html")
    assert made["identity"] in page.read_text()
    assert main([*words[:4], "--share", "99", *SMALL, *own]) == 2
    assert "the fleet has 8 shares" in capsys.readouterr().err
    assert main([*words[:4], *SMALL, *own]) == 2
    assert "give its --share" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["up", "mesh=ipc"], "mesh.name=ipc: a node on its own host needs mesh=tcp"),
        (["up", "mesh=tcp", "mesh.join=[host]"], "mesh.join=host: must be tcp://HOST:PORT"),
        (["up", "mesh=tcp", "mesh.join=[tcp://host:0]"], "the port must be from 1 to 65535"),
        (["up", "mesh=tcp", "mesh.join=[tcp://host:70000]"], "the port must be from 1 to 65535"),
        (["up", "mesh=tcp", "mesh.listen=tcp://0.0.0.0:7700"], "set mesh.advertise"),
        (["up", "mesh=tcp", "mesh.listen=tcp://10.0.0.1:7700"], "mesh.insecure=true"),
        (["up", "mesh=tcp", "--share", "x"], "--share=x: must be a whole number"),
        (["up", "--home"], "--home: needs a value"),
        (["upp"], "did you mean up?"),
        (["id", "rest"], "takes --home alone"),
    ],
)
def test_a_mistake_is_answered_in_one_line(words, told, capsys, tmp_path) -> None:
    assert main(["node", *words]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1


def test_an_identity_is_made_once(tmp_path: Path, capsys) -> None:
    for _ in range(2):
        assert main(["node", "id", "--home", str(tmp_path / "n")]) == 0
    one, other = capsys.readouterr().out.split()
    assert one == other
    assert (tmp_path / "n" / "identity").stat().st_mode & 0o077 == 0
    (tmp_path / "n" / "identity").write_bytes(b"short")
    assert main(["node", "id", "--home", str(tmp_path / "n")]) == 1
    assert "is no identity" in capsys.readouterr().err


@pytest.mark.slow
def test_nodes_with_certificates_learn_from_each_other_and_from_nobody_else(tmp_path) -> None:
    authority = Authority.init(tmp_path / "authority")

    def certified(share: int) -> str:
        home = tmp_path / str(share)
        identity = identity_of(home)
        authority.issue(identity.id, ["127.0.0.1"], 1.0, home / "tls")
        return f"mesh.tls={home}/tls"

    first = Host(tmp_path, 0, certified(0))
    hosts = [first]
    try:
        address = first.said("listens at").split()[-1]
        assert address.startswith("tls+tcp://127.0.0.1:")
        hosts.append(Host(tmp_path, 1, certified(1), f"mesh.join=[{address}]"))
        hosts[1].said("joined through")
        hosts[1].waits_for("admit")
        plain = Host(tmp_path, 2, f"mesh.join=[{address.removeprefix('tls+')}]")
        hosts.append(plain)
        # A certificate of the fleet, but another node's: what it says is not heard.
        thief = Host(tmp_path, 3, f"mesh.tls={tmp_path}/1/tls", f"mesh.join=[{address}]")
        hosts.append(thief)
        for stranger in (plain, thief):
            stranger.said("alone: no answer yet")
        assert not first.events("reject")
    finally:
        for host in hosts:
            host.end(signal.SIGKILL)


@pytest.mark.slow
def test_an_address_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        host = Host(tmp_path, 0, f"mesh.listen=tcp://127.0.0.1:{port}")
        try:
            assert host.process.wait(timeout=PATIENCE_S) == 4
            assert f"tcp://127.0.0.1:{port}: cannot be listened on" in host.text()
            assert len(host.text().strip().splitlines()) == 1
        finally:
            host.end(signal.SIGKILL)


def test_addresses_of_a_node_are_refused_in_a_run(capsys) -> None:
    assert main(["run", "mesh=tcp", "mesh.join=[tcp://host:7700]", "--quiet"]) == 2
    assert "is for `qsynth node up`" in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.ckpt"
    checkpoints = Checkpoints(path, 1.0, threading.Event())
    network = torch.nn.Linear(3, 2)
    assert checkpoints.of(network) is None
    torch.save({"state_dict": network.state_dict()}, path)
    assert checkpoints.of(network) == path
    with pytest.raises(StateError, match="not a checkpoint of this network"):
        checkpoints.of(torch.nn.Linear(4, 2))
    path.write_bytes(b"rubbish")
    with pytest.raises(StateError, match="move it away"):
        checkpoints.of(network)


def test_a_node_that_cannot_remember_ends_its_training() -> None:
    """The mesh thread has met a full disk: the next period tells the training thread."""

    class Full:
        full = False

        def append(self, entries) -> None:
            raise StateError("journal: No space left on device")

    _network, peers = mesh(2)
    node = peers[0].node
    host = MeshHost(node, Silent(), Recorder("n", None), lambda: [], Full())
    effects = Effects(entries=[Entry("own")])
    node.timer = lambda now: effects
    host.start()
    deadline = time.monotonic() + PATIENCE_S
    while host.error is None and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(StateError, match="No space left"):
        host.end_period(1, None, 1.0)
    host.close()


class Silent:
    """A transport that carries nothing."""

    def send(self, address: str, payload: bytes) -> None: ...

    def receive(self, timeout_s: float) -> list:
        time.sleep(timeout_s)
        return []

    def wake(self) -> None: ...

    def peer(self, address: str) -> None: ...

    def close(self) -> None: ...


def test_a_node_whose_task_nobody_shares_ends_with_what_mends_it() -> None:
    one, other = (peer.node for peer in mesh(2)[1])
    check_agreed(one)  # nobody has refused it
    one.refusal = "task: labels differ"
    check_agreed(one)  # and somebody else has taken it in
    alone = mesh(1)[1][0].node
    alone.refusal = "task: columns\x1b[2J, labels differ"
    with pytest.raises(
        ConfigError, match=r"task: columns\?\[2J, labels differ; .*qsynth task merge"
    ):
        check_agreed(alone)
    alone.refusal = "contact: out of range, or not proved"
    check_agreed(alone)
    assert other.table.contacts


def test_a_peers_words_are_printed_without_their_controls() -> None:
    told: list[str] = []
    watcher = Watcher(None, None, told.append)
    watcher.record(0.0, {"event": "refused", "reason": "task\x1b[2J\nroot#"})
    assert told == ["refused by a peer: task?[2J?root#"]
    for number in range(2000):
        watcher.record(0.0, {"event": "refused", "reason": str(number)})
    assert len(told) < 300


def test_an_owner_is_told_that_the_network_is_lost() -> None:
    told: list[str] = []
    watcher = Watcher(None, None, told.append)
    for _ in range(2):
        watcher.record(0.0, {"event": "network_lost"})
    assert len(told) == 1
    assert "its network is lost" in told[0]


def test_the_mesh_side_needs_no_torch() -> None:
    words = "import sys, qsynth.host.server; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", words], timeout=PATIENCE_S).returncode == 0


def test_a_card_is_of_the_settings_it_was_made_from(tmp_path: Path) -> None:
    task = Task("t", 1, ("a", "b"), "vector", (3,), "", 0.0, 1.0)
    card = Card(b"settings", "mlp-0", 5, task, b"encoder")
    assert Card.load(tmp_path, b"settings") is None
    card.save(tmp_path)
    assert Card.load(tmp_path, b"settings") == card
    assert Card.load(tmp_path, b"others") is None
    (tmp_path / "card").write_bytes(b"torn")
    assert Card.load(tmp_path, b"settings") is None
    check_card(card, card)
    with pytest.raises(StateError, match="another --home"):
        check_card(card, replace(card, encoder=b"other"))
    # Other settings of the same samples are the same node; other training samples are not.
    check_card(replace(card, made_from=b"new", seed=5), card)
    check_card(replace(card, trained=b"now known"), replace(card, trained=b""))
    with pytest.raises(StateError, match="which samples it trains on"):
        check_card(replace(card, trained=b"one"), replace(card, trained=b"other"))
