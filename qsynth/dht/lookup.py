"""Iterative lookups, sans-I/O: say whom to ask next, take the answers.

Semantic: a beam search (best first, as in HNSW's search of a layer) whose width grows while the
answer still changes.  Exact: the node lookup of Kademlia (section 2.3).  One state machine serves
both, and it is the one of the simulator: the steps are the kernels of `qsynth.kernels.beam`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.dht.config import Rings
from qsynth.dht.contact import Contact
from qsynth.kernels import beam, inverse_lengths
from qsynth.kernels.cosine import likeness
from qsynth.kernels.restart import looks_wrong, starts_elsewhere
from qsynth.types import Fingerprint, NodeId

GROWS_FROM = 10  # doublings: 1,024 nodes
WARM_PATIENCE = 3
MOST_NODES = 2.0**32  # whoever claims ids beside mine cannot make it wider than that
SPARE = 16  # places in the beam for contacts that turn out to be dead


@dataclass(frozen=True)
class LookupResult:
    """Hold the best contacts found, best first, and what finding them took.

    rounds: answers in the longest chain of them, one leading to the next.
    """

    contacts: tuple[Contact, ...]
    rpcs: int
    rounds: int


class Lookup:
    """Search for the `k` contacts nearest to a fingerprint (semantic) or to an id (exact).

    me: never asked.  start: contacts to begin with.  limits: of the beam, as `lookup_limits` makes
    them.
    """

    def __init__(
        self,
        target: Fingerprint | NodeId,
        k: int,
        me: NodeId,
        start: Sequence[Contact],
        limits: beam.Limits,
    ) -> None:
        self.target, self.k, self.me = target, k, me
        self.limits = limits
        self.rounds = 0
        capacity = int(self.limits[beam.EF_MAX]) + SPARE
        self._rows, self._scores = np.zeros(capacity, np.int64), np.zeros(capacity)
        self._marks, self._counters = np.zeros(capacity, np.int8), np.zeros(beam.COUNTERS, np.int64)
        beam.beam_begin(self._counters, self.limits)
        self._known: list[Contact] = []
        self._number: dict[NodeId, int] = {}
        self._depth: dict[NodeId, int] = {}
        self._failed: set[NodeId] = set()
        self._now_depth = 1
        self._score_of: list[float] = []
        self._kept: list[int] = []  # the best of an earlier start
        if not isinstance(target, bytes):
            self._inverse = inverse_lengths(target.reshape(1, -1))[0]
        self._take(start)

    @property
    def rpcs(self) -> int:
        """Return how many requests it has sent."""
        return int(self._counters[beam.RPCS])

    def next(self) -> list[Contact]:
        """Return whom to ask now; empty while answers are awaited, and when it is done."""
        chosen = []
        while (row := beam.beam_next(self._rows, self._marks, self._counters, self.limits)) >= 0:
            contact = self._known[row]
            self._depth[contact.id] = self._now_depth
            chosen.append(contact)
        return chosen

    def answered(self, node: NodeId, contacts: Sequence[Contact]) -> None:
        """Take the contacts that a node answered with."""
        self._returned(node)
        beam.beam_answered(self._rows, self._marks, self._counters, self._number[node])
        self._take(contacts)
        self._ended()

    def failed(self, node: NodeId) -> None:
        """Note that a node has not answered in time."""
        self._returned(node)
        self._failed.add(node)
        beam.beam_failed(self._rows, self._scores, self._marks, self._counters, self._number[node])
        self._ended()

    @property
    def done(self) -> bool:
        """Return whether nobody is left to ask or to wait for."""
        return self._counters[beam.UNDER_WAY] == 0 and not self._more()

    def _more(self) -> bool:
        """Return whether the beam has somebody to ask: looked at in a copy, not asked yet."""
        marks, counters = self._marks.copy(), self._counters.copy()
        return beam.beam_next(self._rows, marks, counters, self.limits) >= 0

    def _ended(self) -> None:
        """Begin anew in another prefix group where a search has ended in what looks wrong."""
        if self._counters[beam.UNDER_WAY] > 0 or self._more():
            return
        self._merge()
        if not self._looks_wrong():
            return
        self._kept = self._rows[: min(self.k, int(self._counters[beam.SIZE]))].tolist()
        digit = int(self.limits[beam.DIGIT])
        groups = np.array([contact.id[0] >> (8 - digit) for contact in self._known])
        asked = np.array([contact.id in self._depth for contact in self._known])
        scores = np.array(self._score_of)
        again = starts_elsewhere(scores, asked, groups, int(groups[self._kept[0]]))
        beam.beam_restart(self._counters, self.limits)
        for row in again.tolist():
            self._put(row)
        if not self._more():
            self._merge()

    def _merge(self) -> None:
        kept = np.array(self._kept, np.int64)
        scores = np.array(self._score_of)[kept] if self._kept else np.zeros(0)
        beam.beam_merge(
            self._rows, self._scores, self._marks, self._counters, self.limits, kept, scores
        )
        self._kept = []

    def _looks_wrong(self) -> bool:
        size = min(self.k, int(self._counters[beam.SIZE]))
        spent = self.rpcs >= self.limits[beam.BUDGET]
        if isinstance(self.target, bytes) or spent or size == 0:
            return False
        if self._counters[beam.STARTS] >= self.limits[beam.AGAIN]:
            return False
        prints = np.stack([self._known[row].vector() for row in self._rows[:size]])
        return bool(looks_wrong(self._scores[:size], prints, inverse_lengths(prints)))

    def result(self) -> LookupResult:
        """Return the best contacts known, without those that failed; also before it is done."""
        self._merge()
        size = min(self.k, int(self._counters[beam.SIZE]))
        best = tuple(self._known[row] for row in self._rows[:size])
        return LookupResult(best, self.rpcs, self.rounds)

    def known(self) -> list[Contact]:
        """Return all contacts that it has come to know and that have not failed, in order."""
        return [contact for contact in self._known if contact.id not in self._failed]

    def _returned(self, node: NodeId) -> None:
        depth = self._depth.get(node, 1)
        self.rounds = max(self.rounds, depth)
        self._now_depth = depth + 1

    def _take(self, contacts: Sequence[Contact]) -> None:
        for contact in contacts:
            row = self._number.get(contact.id)
            if row is not None:
                # Newer news of it: where it is, and what it has published.  Its place stays.
                if contact.version > self._known[row].version:
                    self._known[row] = contact
                continue
            if contact.id == self.me:
                continue
            if self.k == 1 and isinstance(self.target, bytes) and contact.id == self.target:
                self._counters[beam.FOUND] = 1
            row = self._number[contact.id] = len(self._known)
            self._known.append(contact)
            self._score_of.append(self._score(contact))
            self._put(row)

    def _put(self, row: int) -> None:
        beam.beam_add(
            self._rows,
            self._scores,
            self._marks,
            self._counters,
            self.limits,
            row,
            self._score_of[row],
        )

    def _score(self, contact: Contact) -> float:
        if isinstance(self.target, bytes):
            return -float(xor_distance(self.target, contact.id))
        print_ = contact.vector()
        inverse = inverse_lengths(print_.reshape(1, -1))[0]
        return float(likeness(self.target, self._inverse, print_, inverse))


def lookup_limits(config: Rings, k: int, nodes: float, warm: bool = False) -> beam.Limits:
    """Return the limits of a config's lookups of the k nearest among so many nodes.

    Whoever keeps everyone has no need to widen the beam.  warm: begun in the neighbourhood of what
    is wanted, where the answer is settled at once, however large the mesh.
    """
    if nodes <= config.keep_all:
        return beam.limits(k, config.ef, config.ef, config.alpha, config.lookup_rpcs, 0)
    if warm:
        return beam.limits(
            k,
            config.ef,
            config.ef_max,
            config.alpha,
            config.lookup_rpcs,
            WARM_PATIENCE,
            config.second_starts,
            config.digit_bits,
        )
    doublings = math.log2(min(max(nodes, 1.0), MOST_NODES)) - GROWS_FROM
    more = round(config.ef_growth * max(0.0, doublings))
    widest = max(config.ef, config.ef_max)
    return beam.limits(
        k,
        min(config.ef + more, widest),
        config.ef_max,
        config.alpha,
        config.lookup_rpcs,
        config.patience + more,
        config.second_starts,
        config.digit_bits,
    )


def xor_distance(one: NodeId, other: NodeId) -> int:
    """Return the XOR distance of two ids as a whole number."""
    return int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
