"""What a node tells its user of the mesh, line by line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsynth.host.mesh_host import MeshHost
from qsynth.host.recorder import Recorder
from qsynth.host.watcher import CUT, Watcher, labels_beside
from qsynth.similarity import fingerprint
from qsynth.similarity.class_sketch import ClassSketch
from tests.host.test_daemon import Silent
from tests.protocol.test_node import GROUP_MEANS, Peer, mesh


def test_a_mesh_that_is_cut_is_told_once_and_so_is_its_healing() -> None:
    told: list[str] = []
    watcher = Watcher(None, (), told.append)
    known = [f"n{i}" for i in range(10)]
    watcher.partial(0.0, known)
    for i in range(4):
        watcher.record(1.0, {"event": "dead", "node": known[i], "kind": "notice"})
    watcher.partial(2.0, known[4:])
    watcher.partial(3.0, known[4:])
    assert told == ["sees only part of the mesh: 4 of 10 nodes that it knew do not answer"]
    watcher.partial(4.0, known)
    assert told[1:] == ["sees 10 nodes again, and misses 0"]


def test_nodes_that_leave_one_by_one_are_no_cut() -> None:
    told: list[str] = []
    watcher = Watcher(None, (), told.append)
    known = [f"n{i}" for i in range(20)]
    for minute in range(10):
        watcher.record(60.0 * minute, {"event": "dead", "node": known.pop(), "kind": "fetch"})
        known.insert(0, f"m{minute}")
        watcher.partial(60.0 * minute + 1.0, known)
    assert told == []
    assert 0.0 < CUT < 1.0


def test_permuted_labels_are_told_by_name() -> None:
    network, peers = mesh(5)
    network.run_until(30.0)
    wrong = Peer(network, 8)
    order = [2, 0, 1]
    counts = np.full(3, 20.0)
    turned = fingerprint(ClassSketch(), counts, GROUP_MEANS[0][order] * counts[:, None])
    wrong.publication = replace(wrong.publication, fingerprint=turned, query=turned)
    wrong.join(*peers)
    wrong.period()
    network.run_until(network.now + 5.0)
    node = wrong.node
    for contact in list(node.table.contacts.values()):  # those of the other kind are unlike
        if contact.id not in {p.node.me for p in peers[::2]}:
            node.table.remove(contact.id)
    host = MeshHost(node, Silent(), Recorder("n", None), lambda: [])
    line = labels_beside(host, ClassSketch(), ("a", "b", "c"))
    assert line is not None
    assert "a here looks like c there" in line
    right = MeshHost(peers[0].node, Silent(), Recorder("n", None), lambda: [])
    assert labels_beside(right, ClassSketch(), ("a", "b", "c")) is None


def test_what_waits_for_consent_and_who_is_unlike_is_told() -> None:
    told: list[str] = []
    watcher = Watcher(None, (), told.append, publish="ask")
    watcher.record(0.0, {"event": "unshared", "period": 0})
    watcher.record(1.0, {"event": "publish", "version": 7})
    assert "qsynth packet show" in told[0]
    assert told[1] == "approved: packet 7 may leave"
    network, peers = mesh(4)
    network.run_until(10.0)
    node = peers[0].node
    node.held.clear()
    host = MeshHost(node, Silent(), Recorder("n", None), lambda: [])
    watcher = Watcher(host, (), told.append)
    watcher._strangers()
    assert "none is alike enough" in told[-1]


def test_whom_it_learns_from_is_told_when_that_changes() -> None:
    told: list[str] = []
    watcher = Watcher(None, (), told.append)
    event = {"event": "synthesis", "period": 1, "held": 3, "likelihood": -1.0}
    watcher.record(
        100.0, event | {"used": ["b" * 64, "a" * 64], "gains": {"a" * 64: 0.2, "b" * 64: 0.055}}
    )
    first = f"learns from 2 of 3 it holds packets of ({'a' * 16}, {'b' * 16}): +0.26 nats a sample"
    assert told == [first + " of its own"]
    watcher.record(500.0, event | {"used": ["a" * 64, "b" * 64], "gains": {}})
    assert len(told) == 1, "the same as before"
    watcher.record(101.0, event | {"used": [], "gains": {}})
    assert len(told) == 1, "too soon"
    watcher.record(200.0, event | {"used": [], "gains": {}})
    assert told[1] == "learns from none of 3 it holds packets of"


def test_a_record_does_not_grow_for_ever_and_its_counts_go_on(tmp_path) -> None:
    path = tmp_path / "events.jsonl"
    recorder = Recorder("n", path, most_bytes=2000)
    for period in range(200):
        recorder.write(float(period), [{"event": "period", "period": period}])
    recorder.close()
    assert path.stat().st_size < 2200
    assert path.with_name("events.jsonl.1").stat().st_size < 2200
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.jsonl", "events.jsonl.1"]
    again = Recorder("n", path, most_bytes=2000)
    assert again.events["period"] == 200
    again.close()
