"""A mesh in which everything goes wrong at once, from a seed: whatever fails can be seen again."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from qsynth.identity import Identity
from qsynth.mesh import Faults, MemoryNetwork
from qsynth.protocol.journal import Entry
from qsynth.protocol.restore import entries_of, restore
from qsynth.similarity import cosine
from tests.protocol.test_node import Peer, publication

NODES, ROUGH_S, CALM_S, PERIOD_S = 10, 120.0, 150.0, 4.0
FAULTS = Faults(loss=0.1, duplicates=0.1, late=0.1, late_s=6.0)
SKEW_S = 120.0  # a node's clock is off by so much at most


class Survivor(Peer):
    """A node that remembers on a disk, dies and is made again, and whose clock is off."""

    def __init__(self, network: MemoryNetwork, number: int, disk: list[Entry], skew_s: float):
        super().__init__(network, number, ttl_s=100_000.0)
        self.alive, self.disk = True, disk
        self.node.epoch_s += skew_s
        self.node.clock(network.now)
        self.known = restore(self.node, disk)
        disk[:] = entries_of(self.node)

    def _received(self, now, sender, payload):
        if self.alive:
            self.apply(self.node.message(now, sender, payload))

    def apply(self, effects):
        self.disk += effects.entries  # before anybody is told
        self.records += effects.records
        for send in effects.sends:
            self.transport.send(send.address, send.payload)
        if self.node.wake_at is not None:
            self.network.at(self.node.wake_at, self.fired)

    def fired(self, now):
        until = self.network.standing(self.node.address)
        if until is not None:
            self.network.at(until, self.fired)
        elif self.alive:
            self.apply(self.node.timer(now))

    def turn(self, now):
        """End a period, and again after the next; a node that stands still does nothing."""
        if not self.alive:
            return
        until = self.network.standing(self.node.address)
        if until is None:
            self.apply(self.node.end_period(now, 0, self.publication, 1.0))
        self.network.at(max(until or 0.0, now + PERIOD_S), self.turn)


class Trouble:
    """Do something to a mesh every few seconds, drawn by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng([seed, 99])
        self.network = MemoryNetwork(0.02, seed, FAULTS)
        self.disks: list[list[Entry]] = [[] for _ in range(NODES)]
        self.skews = self.rng.uniform(-SKEW_S, SKEW_S, NODES)
        self.lives: list[Survivor] = []
        self.published: dict[bytes, dict[int, bytes]] = {}
        self.peers: list[Survivor] = []
        for number in range(NODES):
            self.peers.append(self.begin(number))
            self.network.run_until(self.network.now + 0.5)

    def begin(self, number: int) -> Survivor:
        """Let a node begin, or go on from its disk."""
        peer = Survivor(self.network, number, self.disks[number], self.skews[number])
        self.lives.append(peer)
        others = [p.node.address for p in self.peers if p.alive and p.number != number]
        peer.apply(peer.node.start(self.network.now, [*others[-3:], *peer.known]))
        peer.turn(self.network.now)
        return peer

    def once(self) -> None:
        """Do one thing."""
        rng, now = self.rng, self.network.now
        number = int(rng.integers(NODES))
        peer = self.peers[number]
        kind = rng.choice(["crash", "pause", "divide", "heal", "news"])
        if kind == "crash":
            peer.alive = False
            peer.transport.close()
            before = set(peer.node.held), peer.node.sequence
            self.network.run_until(now + float(rng.uniform(0.0, 10.0)))
            again = self.begin(number)
            self.peers[number] = again
            assert set(again.node.held) == before[0]
            assert again.node.sequence >= before[1]
        elif kind == "pause":
            self.network.pause(peer.node.address, now + float(rng.uniform(1.0, 20.0)))
        elif kind == "divide":
            side = rng.permutation(NODES)[: int(rng.integers(1, NODES // 2 + 1))]
            self.network.divide({f"memory:{n}" for n in side})
        elif kind == "heal":
            self.network.divide()
        else:
            peer.publication = publication(number % 2, int(rng.integers(1000)))

    def run(self) -> str:
        """Return a digest of all that has happened."""
        while self.network.now < ROUGH_S:
            self.once()
            self.network.run_until(self.network.now + float(self.rng.uniform(1.0, 6.0)))
            assert all(
                len(p.node.rpc._pending) <= p.node.rpc.config.max_pending for p in self.peers
            )
        self.network.divide()
        self.network.faults = None
        self.network.run_until(self.network.now + CALM_S)
        told = json.dumps([life.records for life in self.lives], default=str)
        return hashlib.sha256(told.encode()).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_whatever_goes_wrong_the_mesh_is_whole_again(seed: int) -> None:
    trouble = Trouble(seed)
    trouble.run()
    sequences: dict[int, list[int]] = {number: [] for number in range(NODES)}
    for life in trouble.lives:
        sequences[life.number] += [event["version"] for event in life.events("publish")]
    for number, versions in sequences.items():
        assert versions == sorted(set(versions)), f"node {number} has used a sequence number twice"
    admitted: dict[int, list[tuple[str, int]]] = {number: [] for number in range(NODES)}
    for life in trouble.lives:
        admitted[life.number] += [(e["author"], e["version"]) for e in life.events("admit")]
    for number, packets in admitted.items():
        assert len(packets) == len(set(packets)), f"node {number} has applied a packet twice"
        me = Identity.seeded("peer", number).id.hex()
        assert all(author != me for author, _ in packets), f"node {number} has learned from itself"
    for peer in trouble.peers:
        assert len(peer.node.table) == NODES - 1, peer.number
        authors = peer.node.authors()
        numbers = {p.number for p in trouble.peers if p.node.me in authors}
        assert len(authors) == 2
        assert all(number % 2 == peer.number % 2 for number in numbers), peer.number
        for other in trouble.peers:
            # Who is learned from is heard in its newest words, unless these are of data less like
            # one's own than those of others: then the older packet counts until it expires.
            if other.node.me in authors:
                held, own = peer.node.held[other.node.me], peer.publication.query
                news = cosine(own, other.node.table.own)
                newest = held.packet.sequence == other.node.sequence
                assert newest or news < cosine(own, held.fingerprint), (peer.number, other.number)


def test_the_same_seed_goes_wrong_in_the_same_way() -> None:
    assert Trouble(3).run() == Trouble(3).run()
