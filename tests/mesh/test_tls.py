"""Mutual TLS: who has no business in the mesh does not get a message through."""

from __future__ import annotations

import time
from pathlib import Path

import pynng
import pytest

from qsynth.cli.main import main
from qsynth.errors import ConfigError, MeshError, StateError
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.rpc import Rpc
from qsynth.mesh.tcp import Tcp
from qsynth.mesh.tls import Tls

HOST = "127.0.0.1"
LISTEN = f"tls+tcp://{HOST}:0"
PATIENCE_S = 90.0
SILENCE_S = 0.7


class Fleet:
    """An authority and the folders of its nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.init(folder / "authority")

    def node(self, name: str, hosts=(HOST,), days: float = 1.0) -> tuple[Identity, Path]:
        identity = Identity.seeded("tls", name)
        out = self.folder / name
        self.authority.issue(identity.id, hosts, days, out)
        return identity, out


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Fleet:
    return Fleet(tmp_path_factory.mktemp("fleet"))


def received(listening: PynngTransport, dialling: PynngTransport, patience_s: float):
    """Return what comes at one end, once it has come or time is over."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        dialling.receive(0.02)
        for came in listening.receive(0.02):
            return came
    return None


def between(server: Path, client: Path | None, patience_s: float, address: str | None = None):
    """Return what a server receives of a client, with the id that its connection has proved."""
    listening = PynngTransport(LISTEN, 65536, Tls(server))
    tls = None if client is None else Tls(client)
    dialling = PynngTransport(LISTEN if tls else f"tcp://{HOST}:0", 65536, tls)
    try:
        port = listening.address.rpartition(":")[2]
        dialling.send(listening.address if address is None else f"{address}:{port}", b"hello")
        came = received(listening, dialling, patience_s)
        return None if came is None else (came[1], listening.peer(came[0]))
    finally:
        dialling.close()
        listening.close()


def test_nodes_of_one_authority_talk_and_know_who_they_talk_to(fleet) -> None:
    (one, at_one), (_, at_two) = fleet.node("one"), fleet.node("two")
    assert between(at_two, at_one, PATIENCE_S) == (b"hello", one.id)


def test_a_message_in_anothers_name_is_refused() -> None:
    me, other = Identity.seeded(1).id, Identity.seeded(2).id
    asking, asked = Rpc(other, Tcp(), 0), Rpc(me, Tcp(), 1)
    (send,) = asking.request(0.0, "pipe:1", "hello", b"", None)
    assert asked.receive("pipe:1", send.payload, me) is None
    assert asked.receive("pipe:1", send.payload, b"") is None
    assert asked.counts["impostor"] == 2
    assert asked.receive("pipe:1", send.payload, other) is not None


def test_a_foreign_authority_is_refused(fleet, tmp_path) -> None:
    _, here = fleet.node("one")
    _, foreign = Fleet(tmp_path).node("one")
    assert between(here, foreign, SILENCE_S) is None


def test_a_certificate_of_a_foreign_authority_beside_ours_is_refused(fleet, tmp_path) -> None:
    """It trusts us; we do not trust it."""
    _, here = fleet.node("one")
    _, foreign = Fleet(tmp_path).node("one")
    (foreign / "authority.pem").write_bytes((here / "authority.pem").read_bytes())
    (foreign / "revoked.pem").write_bytes((here / "revoked.pem").read_bytes())
    assert between(here, foreign, SILENCE_S) is None


def test_an_expired_certificate_is_refused(fleet) -> None:
    (_, here), (_, late) = fleet.node("one"), fleet.node("late", days=-0.01)
    assert between(here, late, SILENCE_S) is None


def test_a_server_of_another_name_is_refused(fleet) -> None:
    (_, elsewhere), (_, here) = fleet.node("elsewhere", hosts=("10.9.8.7",)), fleet.node("one")
    assert between(elsewhere, here, SILENCE_S) is None


def test_plain_text_and_no_certificate_are_refused(fleet) -> None:
    _, here = fleet.node("one")
    assert between(here, None, SILENCE_S, address=f"tcp://{HOST}") is None


def test_who_has_no_certificate_is_refused(fleet) -> None:
    """A client that speaks TLS and trusts the authority, and shows nothing of its own."""
    _, here = fleet.node("one")
    listening = PynngTransport(LISTEN, 65536, Tls(here))
    config = pynng.TLSConfig(pynng.TLSConfig.MODE_CLIENT)
    config.set_ca_chain((here / "authority.pem").read_text(), None)
    config.set_server_name(HOST)
    with pynng.Pair1(polyamorous=True, send_timeout=200) as client:
        client.tls_config = config
        client.dial(listening.address, block=False)
        end = time.monotonic() + SILENCE_S
        while time.monotonic() < end:
            assert not listening.receive(0.02)
            for pipe in client.pipes:
                client.send_msg(pynng.Message(b"\x01hello", pipe), block=False)
    assert listening.shed.get("malformed", 0) == 0
    listening.close()


def test_a_peer_that_starts_again_is_reached_after_others_were_dialled(fleet) -> None:
    """Each connection keeps the name that it expects: `localhost` here, an address there."""
    folders = [fleet.node(f"again{i}", hosts=("127.0.0.1", "localhost"))[1] for i in range(3)]
    dialling = PynngTransport(LISTEN, 65536, Tls(folders[0]))
    listening = [PynngTransport(LISTEN, 65536, Tls(folder)) for folder in folders[1:]]
    named = listening[0].address.replace("127.0.0.1", "localhost")
    listen = listening[0].address
    try:
        for address, at in ((named, listening[0]), (listening[1].address, listening[1])):
            dialling.send(address, b"hello")
            assert received(at, dialling, PATIENCE_S) is not None
        listening[0].close()
        listening[0] = PynngTransport(listen, 65536, Tls(folders[1]))
        end = time.monotonic() + PATIENCE_S
        came = None
        while came is None and time.monotonic() < end:
            dialling.send(named, b"again")
            came = received(listening[0], dialling, 0.5)
        assert came is not None
    finally:
        for transport in (dialling, *listening):
            transport.close()


def test_a_node_with_tls_does_not_dial_without(fleet) -> None:
    _, here = fleet.node("one")
    transport = PynngTransport(LISTEN, 65536, Tls(here))
    transport.send("tcp://127.0.0.1:9", b"secret")
    assert transport.shed == {"unencrypted": 1}
    transport.close()


def test_a_revoked_certificate_is_refused(tmp_path) -> None:
    fleet = Fleet(tmp_path)
    lost, at_lost = fleet.node("lost")
    _, before = fleet.node("before")
    assert between(before, at_lost, PATIENCE_S) is not None
    assert fleet.authority.revoke(lost.id) == 1
    assert fleet.authority.revoke(lost.id) == 0
    _, after = fleet.node("after")
    assert between(after, at_lost, SILENCE_S) is None
    assert between(after, before, PATIENCE_S) is not None
    with pytest.raises(ConfigError, match="has issued it no certificate"):
        fleet.authority.revoke(Identity.seeded("nobody").id)


def test_keys_are_made_once_and_readable_by_their_owner_alone(fleet, tmp_path) -> None:
    _, here = fleet.node("one")
    assert (here / "key.pem").stat().st_mode & 0o777 == 0o600
    assert (fleet.folder / "authority" / "key.pem").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StateError, match="already"):
        Authority.init(fleet.folder / "authority")
    with pytest.raises(StateError, match="holds no authority"):
        Authority(tmp_path)
    for out, days in ((fleet.folder / "authority", 1.0), (here, float("nan")), (here, 1e12)):
        with pytest.raises(ConfigError):
            fleet.authority.issue(bytes(32), ["a"], days, out)
    with pytest.raises(ConfigError, match="--host"):
        fleet.node("none", hosts=())
    (here / "key.pem").write_text("rubbish")
    with pytest.raises(MeshError, match="cannot be used"):
        Tls(here).server()
    with pytest.raises(MeshError, match="qsynth node keys issue"):
        Tls(tmp_path)


def test_the_command_line_makes_a_fleet(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["node", "keys", "init"]) == 0
    assert main(["node", "keys", "issue", "--host", "127.0.0.1,localhost", "--home", "a"]) == 0
    assert main(["node", "id", "--home", "a"]) == 0
    name = capsys.readouterr().out.split()[-1]
    assert Tls(Path("a/tls"))
    assert main(["node", "keys", "issue", "--id", name, "--host", "b", "--out", "out"]) == 0
    assert main(["node", "keys", "revoke", "--id", name]) == 0
    assert "2 certificates revoked" in capsys.readouterr().out
    for words, told in (
        (["isue"], "did you mean issue"),
        (["init"], "already"),
        (["issue", "--id", "12", "--host", "b"], "64 digits"),
        (["issue", "--days", "x", "--host", "b"], "--days=x"),
    ):
        assert main(["node", "keys", *words]) in (1, 2)
        assert told in capsys.readouterr().err
