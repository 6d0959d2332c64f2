"""Nodes that lie to their peers about others: made-up authors, and lookups that end nowhere."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from qsynth.attack.base import Forging
from qsynth.dht import Contact, Table
from qsynth.dht.config import Rings
from qsynth.dht.contact import scheme_of
from qsynth.identity import Identity
from qsynth.packet import OutcomePacket, encode_packet
from qsynth.protocol.node import Node
from qsynth.protocol.replication import Replication
from qsynth.types import Fingerprint, NodeId

TTL_S = 10**6
NOWHERE = {
    "memory:": "memory:nowhere",
    "ipc://": "ipc:///nowhere",
    "tcp://": "tcp://127.0.0.1:9",
    "tls+tcp://": "tls+tcp://127.0.0.1:9",
}

LIES = 8  # different ones: each author gives one of them


class Inventing(Replication):
    """Tell of authors that are gone and never were, and give packets in their names.

    forger: says what they say.  many: told of in an answer.
    """

    def __init__(self, node: Node, forger: Forging, many: int, seed: int) -> None:
        super().__init__(node)
        self.many, self.seed, self._made = many, seed, 0
        self._lies = [forger.invented(number) for number in range(LIES)]
        self._packets: dict[NodeId, bytes] = {}

    def orphans(self, wanted: Fingerprint, most: int) -> list[Contact]:
        """Return ever new authors, whoever is asked for."""
        return [self._author() for _ in range(self.many)]

    def fetch(self, author: NodeId, after: int, asker: NodeId) -> bytes:
        """Return a packet in anybody's name that has been made up."""
        return self._packets.get(author) or super().fetch(author, after, asker)

    def _author(self) -> Contact:
        node, self._made = self.node, self._made + 1
        identity = Identity.seeded("made up", self.seed, self._made)
        lie = self._lies[self._made % LIES]
        packet = OutcomePacket(
            task=node.admission.task_digest,
            encoder=node.admission.encoder_digest,
            author=identity.public_key,
            sequence=int(node.wall_s()),
            created_s=node.wall_s(),
            ttl_s=TTL_S,
            support=lie.support,
            payload=lie.payload,
        )
        self._packets[identity.id] = encode_packet(packet, identity)
        address = nowhere(node.contact().address)
        return Contact(identity.id, address, lie.fingerprint.tobytes(), packet.sequence)


class Eclipsing(Table):
    """Answer lookups with nodes that are exactly what is asked for, and are nowhere.

    address: of the node itself; it finds others as all do.
    """

    def __init__(self, me: NodeId, size: int, config: Rings, address: str, seed: int) -> None:
        super().__init__(me, size, config)
        self.address, self._rng = nowhere(address), np.random.default_rng([seed, 42])

    def alike(
        self,
        wanted: Fingerprint,
        m: int,
        exclude: Iterable[NodeId] = (),
        prefix: tuple[NodeId, int] | None = None,
    ) -> list[Contact]:
        """Return made-up contacts to whoever asks, and real ones to the node itself."""
        others = list(exclude)
        if not others:
            return super().alike(wanted, m, others, prefix)
        return [self._made_up(wanted) for _ in range(m)]

    def nearest(self, target: NodeId, k: int, exclude: Iterable[NodeId] = ()) -> list[Contact]:
        """Return likewise the nearest to an id."""
        others = list(exclude)
        if not others:
            return super().nearest(target, k, others)
        return [self._made_up(self.own) for _ in range(k)]

    def _made_up(self, wanted: Fingerprint) -> Contact:
        return Contact(self._rng.bytes(32), self.address, wanted.tobytes(), 2**31)


def nowhere(address: str) -> str:
    """Return an address of the same kind at which nobody is."""
    return NOWHERE.get(scheme_of(address), NOWHERE["memory:"])
