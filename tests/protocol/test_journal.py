"""What a node remembers: cut off anywhere, spoilt anywhere, on a full disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from qsynth.errors import StateError
from qsynth.mesh import MemoryNetwork
from qsynth.mesh.pressure import Budget
from qsynth.protocol.journal import BUDGET, HELD, KEPT, OWN, Entry, State
from qsynth.protocol.restore import entries_of, restore
from qsynth.records.service import Records
from tests.protocol.test_node import Peer, mesh, publication, turn


def entry(number: int) -> Entry:
    return Entry(OWN, bytes([number]) * (number % 7), None, number)


def test_what_was_appended_is_there_and_a_snapshot_takes_its_place(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert state.load() == []
    state.append([entry(1), entry(2)])
    state.close()
    state = State(tmp_path)
    assert state.load() == [entry(1), entry(2)]
    state.replace([entry(2)])
    state.append([entry(3)])
    state.close()
    with State(tmp_path) as state:
        assert state.load() == [entry(2), entry(3)]


def test_a_journal_cut_off_at_any_byte_keeps_every_whole_entry(tmp_path: Path) -> None:
    state = State(tmp_path)
    ends = []
    for number in range(1, 12):
        state.append([entry(number)])
        ends.append((tmp_path / "journal").stat().st_size)
    state.close()
    whole = (tmp_path / "journal").read_bytes()
    for cut in range(len(whole) + 1):
        (tmp_path / "journal").write_bytes(whole[:cut])
        state = State(tmp_path)
        kept = sum(end <= cut for end in ends)
        assert state.load() == [entry(n) for n in range(1, kept + 1)]
        state.append([entry(99)])  # and it goes on behind what is whole
        state.close()
        state = State(tmp_path)
        assert state.load()[-1] == entry(99)
        assert len(state.load()) == kept + 1
        state.close()


def test_a_spoilt_snapshot_is_refused_whole(tmp_path: Path, rng) -> None:
    state = State(tmp_path)
    state.replace([entry(n) for n in range(1, 20)])
    state.close()
    good = (tmp_path / "state").read_bytes()
    for _ in range(60):
        data = bytearray(good)
        at = int(rng.integers(len(data)))
        data[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "state").write_bytes(bytes(data))
        state = State(tmp_path)
        with pytest.raises(StateError, match="checksum"):
            state.load()
        state.close()


def test_rubbish_in_a_journal_is_left_out(tmp_path: Path, rng) -> None:
    for _ in range(100):
        (tmp_path / "journal").write_bytes(rng.bytes(int(rng.integers(0, 200))))
        state = State(tmp_path)
        assert state.load() == []
        state.append([entry(5)])
        assert state.load() == [entry(5)]
        state.close()


def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    with State(tmp_path), pytest.raises(StateError, match="another process"):
        State(tmp_path)
    State(tmp_path).close()


def test_a_full_disk_leaves_no_half_entry(tmp_path: Path, monkeypatch) -> None:
    state = State(tmp_path)
    state.append([entry(1)])
    real = state._journal

    class Full:
        def write(self, data: bytes) -> None:
            real.write(data[: len(data) // 2])
            real.flush()
            raise OSError(errno.ENOSPC, "No space left on device")

        def __getattr__(self, name: str):
            return getattr(real, name)

    state._journal = Full()
    with pytest.raises(StateError, match="No space left"):
        state.append([entry(2)])
    state._journal = real
    state.append([entry(3)])
    assert state.load() == [entry(1), entry(3)]
    state.close()


def test_a_node_killed_at_any_moment_knows_all_it_has_acknowledged() -> None:
    """After every single message of its life what is on disk makes the node again."""
    network, peers = mesh(6)
    watched, node = peers[3], peers[3].node
    disk = entries_of(node)
    moments = []
    apply = watched.apply

    def noted(effects) -> None:
        disk.extend(effects.entries)
        moments.append((len(disk), node.sequence, set(node.held), len(node.service(Records).kept)))
        apply(effects)

    watched.apply = noted
    records = node.service(Records)
    store = lambda now, effects: records.store(now, b"k" * 32, b"v", 500.0, effects)  # noqa: E731
    watched.apply(node.serve(network.now, store)[1])
    for period in range(4):
        watched.publication = publication(1, 50 + period)  # news of its own
        turn(network, peers, 1)
    assert len(moments) > 20
    assert len({sequence for _, sequence, _, _ in moments}) == 5
    assert node.held
    for length, sequence, held, records in moments:
        again = Peer(network, 3).node
        again.clock(network.now)
        restore(again, disk[:length])
        assert again.sequence == sequence
        assert set(again.held) == held
        assert len(again.service(Records).kept) == records


def test_a_node_made_again_from_a_snapshot_says_the_same(tmp_path: Path) -> None:
    network, peers = mesh(6)
    turn(network, peers, 4)
    node = peers[2].node
    state = State(tmp_path)
    state.replace(entries_of(node))
    state.close()
    again = Peer(network, 2).node
    again.clock(network.now)
    with State(tmp_path) as state:
        known = restore(again, state.load())
    assert again.sequence == node.sequence
    assert again.own_packet is not None
    assert again.own_packet[1] == node.own_packet[1]
    assert set(again.held) == set(node.held)
    assert {a: k.data for a, k in again.replication.kept.items()} == {
        a: k.data for a, k in node.replication.kept.items()
    }
    assert set(known) == {c.address for c in node.table.contacts.values()}
    # The same outcome is not published anew; a new one has a higher number.
    again.end_period(network.now, 0, peers[2].publication, 1.0)
    assert again.sequence == node.sequence


def test_what_a_node_publishes_after_an_old_copy_was_restored_counts() -> None:
    """A backup is older than what its node has published since."""
    network, peers = mesh(6)
    turn(network, peers, 2)
    watched = peers[2]
    backup = entries_of(watched.node)
    for news in range(3):
        watched.publication = publication(0, 70 + news)
        turn(network, peers, 1)
        network.run_until(network.now + 2.0)
    last = watched.node.sequence
    network.run_until(network.now + 5.0)  # a restore takes a while
    again = Peer(network, 2).node
    again.clock(network.now)
    restore(again, backup)
    assert again.sequence < last
    again.end_period(network.now, 0, publication(0, 90), 1.0)
    assert again.sequence > last


def test_a_packet_that_was_kept_first_and_learned_from_later_is_held_again() -> None:
    network, peers = mesh(4)
    turn(network, peers, 3)
    held = next(e for e in entries_of(peers[0].node) if e.kind == HELD)
    again = Peer(network, 0).node
    again.clock(network.now)
    restore(again, [Entry(KEPT, held.data, held.author), held, held])
    assert held.author is not None
    assert set(again.held) == {held.author.id}


def test_what_has_expired_or_is_forged_is_not_restored(tmp_path: Path) -> None:
    network, peers = mesh(4, ttl_s=30.0)
    turn(network, peers, 3)
    entries = [e for e in entries_of(peers[0].node) if e.kind == HELD]
    assert entries
    later = Peer(network, 0).node
    later.clock(network.now + 1000.0)
    restore(later, entries)
    assert later.held == {}
    spoilt = Entry(HELD, entries[0].data[:-1] + b"x", entries[0].author)
    now = Peer(network, 0).node
    now.clock(network.now)
    restore(now, [spoilt, Entry(OWN, b"rubbish", None, 7)])
    assert now.held == {}
    assert now.sequence == 7
    assert now.own_packet is None


def test_what_may_still_be_sent_is_remembered() -> None:
    _network, peers = mesh(2)
    node = peers[0].node
    node.budget = Budget(3_600_000)
    node.budget.left = 1000.0
    entries = entries_of(node)
    assert [e.sequence for e in entries if e.kind == BUDGET] == [1000]
    again = Peer(MemoryNetwork(), 0).node
    again.budget = Budget(3_600_000)
    again.epoch_s = node.epoch_s + 2.0
    again.clock(node._now)
    restore(again, entries)
    assert 2900.0 < again.budget.left < 3100.0  # a thousand bytes a second have grown
    again.budget.go_on(-5, -100.0)
    assert again.budget.left == 0.0
    assert not any(e.kind == BUDGET for e in entries_of(peers[1].node))
