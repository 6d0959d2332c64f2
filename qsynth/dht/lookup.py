"""Iterative lookups, sans-I/O: say whom to ask next, take the answers.

Semantic: a beam search of width `ef` (best first, as in HNSW's search of a layer).  Exact: the
node lookup of Kademlia (section 2.3).  One state machine serves both; only the order differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qsynth.dht.config import Rings
from qsynth.dht.contact import Contact
from qsynth.kernels import cosine_top
from qsynth.types import Fingerprint, NodeId


@dataclass(frozen=True)
class LookupResult:
    """Hold the best contacts found, best first, and what finding them took."""

    contacts: tuple[Contact, ...]
    rpcs: int
    rounds: int


class Lookup:
    """Search for the `k` contacts nearest to a fingerprint (semantic) or to an id (exact).

    me: never asked.  start: contacts to begin with.
    """

    def __init__(
        self, target: Fingerprint | NodeId, k: int, me: NodeId, start: Sequence[Contact],
        config: Rings,
    ) -> None:  # fmt: skip
        self.target, self.k, self.me, self.config = target, k, me, config
        self.width = max(config.ef, k)
        self.rpcs = self.rounds = 0
        self._known: dict[NodeId, Contact] = {}
        self._rank: dict[NodeId, tuple[float | int, bytes]] = {}
        self._asked: set[NodeId] = set()
        self._waiting: set[NodeId] = set()
        self._failed: set[NodeId] = set()
        self._take(start)

    def next(self) -> list[Contact]:
        """Return whom to ask now; empty while answers are awaited, and when it is done."""
        free = self.config.alpha - len(self._waiting)
        free = min(free, self.config.lookup_rpcs - self.rpcs)
        chosen = [c for c in self._beam() if c.id not in self._asked][: max(free, 0)]
        for contact in chosen:
            self._asked.add(contact.id)
            self._waiting.add(contact.id)
        self.rpcs += len(chosen)
        self.rounds += bool(chosen)
        return chosen

    def answered(self, node: NodeId, contacts: Sequence[Contact]) -> None:
        """Take the contacts that a node answered with."""
        self._waiting.discard(node)
        self._take(contacts)

    def failed(self, node: NodeId) -> None:
        """Note that a node has not answered in time."""
        self._waiting.discard(node)
        self._failed.add(node)

    @property
    def done(self) -> bool:
        """Return whether nobody is left to ask or to wait for."""
        if self._waiting:
            return False
        spent = self.rpcs >= self.config.lookup_rpcs
        return spent or all(c.id in self._asked for c in self._beam())

    def result(self) -> LookupResult:
        """Return the best contacts known, without those that failed."""
        return LookupResult(tuple(self._beam()[: self.k]), self.rpcs, self.rounds)

    def _beam(self) -> list[Contact]:
        alive = [node for node in self._known if node not in self._failed]
        best = sorted(alive, key=self._rank.__getitem__)[: self.width]
        return [self._known[node] for node in best]

    def _take(self, contacts: Sequence[Contact]) -> None:
        for contact in contacts:
            known = self._known.get(contact.id)
            if contact.id == self.me or (known is not None and known.version >= contact.version):
                continue
            self._known[contact.id] = contact
            self._rank[contact.id] = (self._distance(contact), contact.id)

    def _distance(self, contact: Contact) -> float | int:
        if isinstance(self.target, bytes):
            return xor_distance(self.target, contact.id)
        _, scores = cosine_top(self.target, contact.vector().reshape(1, -1), 1)
        return -float(scores[0])


def xor_distance(one: NodeId, other: NodeId) -> int:
    """Return the XOR distance of two ids as a whole number."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
