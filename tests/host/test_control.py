"""Control over what leaves: consent, the ledger, shadows, withdrawal, forgetting."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.dht.config import Rings
from qsynth.errors import ConfigError, StateError
from qsynth.host.consent import PENDING, Consent, approve
from qsynth.host.forget import BEFORE, CHECKPOINT, SCRATCH, USED, forget, note_used, used_authors
from qsynth.host.ledger import FIRST, Ledger, read_ledger
from qsynth.identity import Identity
from qsynth.mesh import MemoryNetwork, Rpc
from qsynth.mesh.memory import Memory
from qsynth.packet import payload_digest
from qsynth.protocol import messages
from qsynth.protocol.journal import CONTACT, FORGOTTEN, HELD, OWN, Entry, State
from qsynth.protocol.restore import entries_of, restore
from qsynth.similarity import signs
from tests.commands import answered
from tests.host.test_daemon import Host
from tests.protocol.test_node import Peer, mesh, publication, turn


class Eavesdropped(Peer):
    """A node whose every message is read."""

    def __init__(self, *args, **settings) -> None:
        super().__init__(*args, **settings)
        self.sent: list[bytes] = []

    def apply(self, effects) -> None:
        self.sent += [send.payload for send in effects.sends]
        super().apply(effects)


@pytest.mark.parametrize("dht", [Rings(), Rings(strategy="rings")], ids=["everyone", "rings"])
def test_a_shadow_learns_and_tells_nothing_of_its_data(dht) -> None:
    network, peers = mesh(8, dht=dht)
    turn(network, peers)
    shadow = Eavesdropped(network, 20, dht=dht)
    shadow.publication = replace(publication(0, 20), shared=False)
    shadow.join(*peers[:2])
    for period in range(12):
        shadow.period(period=period)
        turn(network, peers, 1)
    authors = shadow.node.authors()
    numbers = {p.number for p in peers if p.node.me in authors}
    assert len(numbers) == 2
    assert all(number % 2 == 0 for number in numbers)
    secret = shadow.publication.fingerprint.tobytes()
    assert not any(secret in message for message in shadow.sent)
    assert not any(shadow.node.me in p.node.held for p in peers)
    assert shadow.node.own_packet is None
    whole = signs(shadow.publication.query).tobytes()
    told = any(whole in message for message in shadow.sent)
    assert told == (dht.strategy == "rings")  # signs, and only where not everyone is known
    assert set(np.abs(signs(shadow.publication.query))) <= {0, 64}


def test_consent_is_asked_once_and_holds_for_these_numbers_alone(tmp_path) -> None:
    first, other = publication(0, 1), publication(0, 2)
    assert Consent("auto", tmp_path).permits(first)
    assert not Consent("never", tmp_path).permits(first)
    asking = Consent("ask", tmp_path)
    assert not asking.permits(first)
    told = json.loads((tmp_path / PENDING).read_text())
    assert told["digest"] == payload_digest(first.payload)
    assert told["samples"] == 60
    assert approve(tmp_path) == told["digest"]
    assert asking.permits(first)
    assert not asking.permits(other)
    assert Consent("ask", tmp_path).permits(first)  # also in another life
    assert approve(tmp_path / "nowhere") is None


def test_a_ledger_is_a_chain_that_no_line_can_be_taken_out_of(tmp_path) -> None:
    path = tmp_path / "sent.jsonl"
    ledger = Ledger(path)
    for number in range(5):
        record = {
            "event": "sent",
            "to": f"{number:064x}",
            "digest": "d",
            "version": number,
            "bytes": 9,
            "how": "fetched",
        }
        ledger.append(float(number), [record])
    ledger.close()
    lines = read_ledger(path)
    assert [line["version"] for line in lines] == list(range(5))
    assert lines[0]["previous"] == FIRST
    whole = path.read_bytes()
    rows = whole.split(b"\n")
    for broken in (
        b"\n".join(rows[:2] + rows[3:]),
        b"\n".join([rows[1], rows[0], *rows[2:]]),
        whole.replace(b'"bytes": 9', b'"bytes": 8', 1),
        b"rubbish\n" + whole,
    ):
        path.write_bytes(broken)
        with pytest.raises(StateError, match="chain is broken"):
            read_ledger(path)
        with pytest.raises(StateError, match="chain is broken"):
            Ledger(path)
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        assert read_ledger(path) == lines[: whole[:cut].count(b"\n")]
    path.write_bytes(whole[:-10])  # killed while it wrote
    again = Ledger(path)
    again.append(9.0, [{"event": "sent", "to": "x", "version": 9}])
    again.close()
    assert [line["version"] for line in read_ledger(path)] == [0, 1, 2, 3, 9]


def test_each_packet_that_leaves_is_recorded_with_its_receiver() -> None:
    network, peers = mesh(4)
    turn(network, peers)
    for peer in peers:
        told = {(e["to"], e["version"]) for e in peer.events("sent")}
        fetched = {
            (p.node.me.hex(), e["version"])
            for p in peers
            for e in p.events("admit")
            if e["author"] == peer.node.me.hex()
        }
        assert fetched
        assert fetched <= told


def test_a_withdrawn_packet_is_dropped_by_all_who_hold_it_and_does_not_come_back() -> None:
    network, peers = mesh(8)
    turn(network, peers, 5)
    author = peers[0]
    assert any(author.node.me in p.node.held for p in peers)
    old = author.node.own_packet[1]
    for _ in range(3):
        author.apply(author.node.withdraw(network.now))
        network.run_until(network.now + 5.0)
    told = author.node.withdrawals
    assert told.asked
    assert told.confirmed == told.asked
    turn(network, peers[1:], 6)
    for peer in peers[1:]:
        assert author.node.me not in peer.node.held
        assert author.node.me not in peer.node.replication.kept
        assert peer.node.replication.fetch(author.node.me, 0, peer.node.me) == b""
    # Not even where somebody sends the old bytes again, or after another life.
    keep = messages.Keep(author.node.contact(), old)
    for peer in peers[1:3]:
        assert isinstance(peer.node.replication.keep(keep), messages.Refusal)
        again = Peer(MemoryNetwork(), peer.number).node
        restore(again, entries_of(peer.node))
        assert again.withdrawals.covers(author.node.me) == author.node.sequence
        assert isinstance(again.replication.keep(keep), messages.Refusal)
    # Something new of it is welcome.
    author.publication = publication(0, 99)
    turn(network, peers, 6)
    assert any(author.node.me in p.node.held for p in peers[1:])


def test_nobody_withdraws_for_another() -> None:
    network, peers = mesh(3)
    turn(network, peers)
    victim, target = peers[0].node, peers[2].node
    assert victim.me in target.held
    mallory = Identity.seeded("mallory")
    said = b"qsynth withdraw 1" + victim.admission.task_digest + victim.sequence.to_bytes(8, "big")
    good = messages.Withdrawal(
        victim.identity.public_key, victim.sequence, victim.identity.sign(said)
    )
    for forged in (
        msgspec.structs.replace(good, signature=mallory.sign(said)),
        msgspec.structs.replace(good, sequence=good.sequence + 1),
        msgspec.structs.replace(good, sequence=-1),
        msgspec.structs.replace(good, author=b"short"),
    ):
        body = messages.pack(messages.Withdraw(peers[1].node.contact(), forged))
        ask = Rpc(peers[1].node.me, Memory(), 3).request(0.0, "x", messages.WITHDRAW, body, None)[0]
        target.message(network.now, "memory:1", ask.payload)
        assert victim.me in target.held
    assert target.counts["withdraw_signature"] >= 3
    body = messages.pack(
        messages.Withdraw(peers[1].node.contact(), good)
    )  # its own words, by another
    ask = Rpc(peers[1].node.me, Memory(), 4).request(0.0, "x", messages.WITHDRAW, body, None)[0]
    target.message(network.now, "memory:1", ask.payload)
    assert victim.me not in target.held


def home_of(folder: Path, *, used: bool) -> tuple[Path, str, list[Entry]]:
    network, peers = mesh(4)
    turn(network, peers)
    node = peers[0].node
    (author,) = list(node.held)[:1]
    with State(folder) as state:
        state.replace(entries_of(node))
    note_used(folder, [author] if used else [])
    (folder / CHECKPOINT).write_bytes(b"taught")
    return folder, author.hex(), entries_of(node)


@pytest.mark.parametrize("kept", ["before", "scratch", "nothing", "unused"])
def test_a_forgotten_author_leaves_no_packet_and_the_network_says_what_is_left(tmp_path, kept):
    home, author, _ = home_of(tmp_path, used=kept != "unused")
    if kept == "before":
        (home / BEFORE).write_bytes(b"untaught")
    if kept == "scratch":
        (home / SCRATCH).touch()
    made = forget(home, author[:16])
    assert made["author"] == author
    assert made["packets_dropped"] >= 1
    assert made["network_still_influenced"] == (kept == "nothing")
    expected = {"before": b"untaught", "scratch": None, "nothing": b"taught", "unused": b"taught"}
    checkpoint = home / CHECKPOINT
    assert (checkpoint.read_bytes() if checkpoint.exists() else None) == expected[kept]
    again = Peer(MemoryNetwork(), 0)
    with State(home) as state:
        entries = state.load()
    assert not any(e.kind == HELD and e.author.id.hex() == author for e in entries)
    assert any(e.kind == FORGOTTEN for e in entries)
    assert {e.kind for e in entries} >= {OWN, CONTACT}
    restore(again.node, entries)
    assert bytes.fromhex(author) not in again.node.held
    assert bytes.fromhex(author) in again.node.forgotten


def test_without_a_record_any_author_may_have_taught(tmp_path) -> None:
    home, author, _ = home_of(tmp_path, used=False)
    (home / USED).unlink()
    made = forget(home, author)
    assert made["had_counted"]
    assert made["network_still_influenced"]
    note_used(home, [b"a" * 32])
    note_used(home, [b"a" * 32, b"b" * 32])
    assert used_authors(home) == {"61" * 32, "62" * 32}
    with pytest.raises(ConfigError, match="no node has lived there"):
        forget(home / "nowhere", author)


def test_a_withdrawal_survives_the_death_of_its_author() -> None:
    network, peers = mesh(4)
    turn(network, peers)
    author = peers[0].node
    disk = entries_of(author)
    effects = author.withdraw(network.now)
    again = Peer(MemoryNetwork(), 0).node
    restore(again, disk + effects.entries)
    assert again.own_packet is None
    assert again.sequence == author.sequence
    assert again.replication.fetch(again.me, 0, peers[1].node.me) == b""


def test_a_node_that_may_no_longer_publish_does_not_go_on_with_the_old_packet() -> None:
    network, peers = mesh(4)
    turn(network, peers)
    old = peers[0]
    disk = entries_of(old.node)
    old.transport.close()
    again = Eavesdropped(network, 0)
    restore(again.node, disk)
    assert again.node.table.own.any()  # what it announces is that of its packet
    again.node.shadow = True  # as a life with publish=never or ask begins
    again.publication = replace(old.publication, shared=False)
    again.join(*peers[1:])
    for period in range(8):
        again.period(period=period)
        turn(network, peers[1:], 1)
    assert not again.events("sent")
    assert again.node.replication.fetch(again.node.me, 0, peers[1].node.me) == b""
    assert not any(old.node.own_packet[1] in message for message in again.sent)
    secret = old.publication.fingerprint.tobytes()
    assert not any(secret in message for message in again.sent)


def test_a_node_that_was_restarted_announces_what_it_has_published() -> None:
    network, peers = mesh(4)
    turn(network, peers)
    disk = entries_of(peers[0].node)
    again = Peer(MemoryNetwork(), 0)
    restore(again.node, disk)
    told = again.node.contact()
    assert told.version == peers[0].node.sequence
    assert np.array_equal(told.vector(), peers[0].node.table.own)


def test_strangers_withdrawals_fill_nothing() -> None:
    network, peers = mesh(4)
    turn(network, peers)
    me = peers[0].node
    me.withdraw(network.now)
    mine = me.withdrawals.covers(me.me)
    for number in range(300):
        stranger = Identity.seeded("stranger", number)
        said = b"qsynth withdraw 1" + me.admission.task_digest + (5).to_bytes(8, "big")
        made = messages.Withdrawal(stranger.public_key, 5, stranger.sign(said))
        answer = me.withdrawals.take(messages.Withdraw(peers[1].node.contact(), made))
        assert isinstance(answer, messages.Notice)
    assert list(me.withdrawals.known) == [me.me]
    assert me.withdrawals.covers(me.me) == mine
    assert not me.withdrawals._tell


def test_only_answers_to_the_newest_withdrawal_confirm_it() -> None:
    network, peers = mesh(4)
    turn(network, peers)
    author, other = peers[0], peers[1]
    other.apply(other.node.withdraw(network.now))  # somebody else's is passed on
    network.run_until(network.now + 2.0)
    turn(network, peers[2:], 3)
    assert not author.node.withdrawals.confirmed
    for life in range(2):
        author.apply(author.node.withdraw(network.now))
        network.run_until(network.now + 2.0)
        author.apply(author.node.withdraw(network.now))
        network.run_until(network.now + 2.0)
        assert author.node.withdrawals.confirmed == author.node.withdrawals.asked
        assert len(author.node.withdrawals.asked) == 3
        author.publication = publication(0, 50 + life)
        author.period(period=9)
        network.run_until(network.now + 2.0)
    author.apply(author.node.withdraw(network.now))
    assert not author.node.withdrawals.confirmed  # of the packet published since


def test_an_old_packet_under_a_new_number_does_not_come_back() -> None:
    from qsynth.mesh import Answer
    from qsynth.protocol.admit import fetched
    from qsynth.protocol.effects import Effects

    network, peers = mesh(4)
    turn(network, peers)
    author, holder = peers[0].node, peers[2].node
    old, contact = author.own_packet[1], author.contact()
    peers[0].apply(author.withdraw(network.now))
    network.run_until(network.now + 2.0)
    assert author.me not in holder.held
    claimed = msgspec.structs.replace(contact, version=contact.version + 1)
    answer = Answer(
        messages.FETCH, peers[1].node.me, messages.pack(messages.Packet(old)), None, False
    )
    fetched(holder, answer, claimed, Effects())
    assert author.me not in holder.held


def test_whoever_asks_again_is_in_the_ledger_once() -> None:
    network, peers = mesh(3)
    turn(network, peers)
    node = peers[0].node
    before = len(peers[0].events("sent"))
    for _ in range(50):
        assert node.replication.fetch(node.me, 0, b"x" * 32)
    assert len(node.sent) == 1
    assert before >= 1


def test_the_forgotten_are_not_fetched_again() -> None:
    network, peers = mesh(6)
    me = peers[0].node
    me.forgotten.add(peers[2].node.me)
    turn(network, peers, 6)
    assert peers[2].node.me not in me.held
    assert peers[4].node.me in me.held
    assert peers[2].node.me in peers[4].node.held


def test_mistakes_of_forgetting_are_answered(tmp_path, capsys) -> None:
    home, author, _ = home_of(tmp_path, used=True)
    with pytest.raises(ConfigError, match="of its digits"):
        forget(home, author[:4])
    with pytest.raises(ConfigError):
        forget(home, "zz" * 8)
    assert main(["node", "forget", "--home", str(home)]) == 2
    with State(home):
        assert main(["node", "forget", author, "--home", str(home)]) == 1
    assert "another process" in capsys.readouterr().err
    assert main(["packet", "log", "--home", str(home)]) == 2
    assert main(["packet", "approve", "--home", str(home)]) == 2
    assert main(["packet", "show", "--home", str(home)]) == 2


def test_what_would_leave_is_shown(capsys) -> None:
    small = ["encoder.fit_images=300", "encoder.dimensions=48", "encoder.filters=8"]
    assert main(["packet", "show", *small, "--share", "2"]) == 0
    assert "samples by class" in capsys.readouterr().out
    assert main(["packet", "show", *small, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert sum(made["samples_by_class"]) == made["samples"]
    assert main(["packet", "show", *small, "--share", "99"]) == 2


@pytest.mark.slow
def test_hosts_ask_withdraw_and_forget(tmp_path, capsys) -> None:
    """Two real nodes: one publishes once it may, is learned from, and takes it back."""

    def qsynth(*words: str) -> subprocess.CompletedProcess[str]:
        if words[:2] == ("node", "withdraw"):  # a node of its own, with its signals
            return answered(*words)
        code = main(list(words))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    first = Host(tmp_path, 0)
    hosts = [first]
    try:
        address = first.said("listens at").split()[-1]
        second = Host(tmp_path, 1, f"mesh.join=[{address}]", "publish=ask")
        hosts.append(second)
        second.said("joined through")
        second.waits_for("admit")  # a shadow until its owner consents
        assert not second.events("publish")
        shown = qsynth("packet", "show", "--home", str(second.home))
        assert "samples" in shown.stdout
        assert qsynth("packet", "approve", "--home", str(second.home)).returncode == 0
        second.waits_for("publish")
        first.waits_for("admit")
        second.end(15)
        ledger = qsynth("packet", "log", "--home", str(second.home))
        assert ledger.returncode == 0, ledger.stderr
        assert "the chain is whole" in ledger.stdout
        who = first.events("started")[0]["id"]
        assert who[:16] in ledger.stdout
        from tests.host.test_daemon import SMALL

        home = ["--home", str(second.home), "--share", "1"]
        done = qsynth("node", "withdraw", *home, *SMALL, f"mesh.join=[{address}]", "publish=ask")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 of 1 nodes have confirmed" in done.stdout
        assert first.waits_for("withdrawn")[0]["author"] == second.events("started")[0]["id"]
        made = qsynth("node", "forget", who, "--home", str(second.home))
        assert made.returncode == 0, made.stderr
        assert json.loads(made.stdout)["network_still_influenced"] is False
    finally:
        for host in hosts:
            host.end(9)
