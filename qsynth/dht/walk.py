"""The strategy `random_walk`: whom one asks next is drawn, and the best of all met are kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsynth.dht.contact import Contact
from qsynth.dht.lookup import LookupResult
from qsynth.kernels import beam, cosine_top
from qsynth.types import Fingerprint, NodeId

STEPS = 3  # times the beam's width: a walk sends so many requests


class RandomWalk:
    """Walk from node to node; a lookup that any routing must beat.

    The parameters are those of `Lookup`.  An answer begins with a contact that was drawn from all
    that the asked node knows: the next step; the rest are the most alike of them.
    """

    def __init__(
        self, target: Fingerprint, k: int, me: NodeId, start: Sequence[Contact],
        limits: beam.Limits, rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.target, self.k, self.me = target, k, me
        self.rpcs = 0
        self._steps = min(STEPS * int(limits[beam.EF]), int(limits[beam.BUDGET]))
        self._start, self._rng = [c for c in start if c.id != me], rng
        self._known: dict[NodeId, Contact] = {c.id: c for c in self._start}
        self._next: Contact | None = None
        self._waiting: NodeId | None = None

    @property
    def done(self) -> bool:
        """Return whether it has taken all its steps, or has nowhere to go."""
        over = self.rpcs >= self._steps or (self._next is None and not self._start)
        return self._waiting is None and over

    def next(self) -> list[Contact]:
        """Return whom to ask now."""
        if self._waiting is not None or self.done:
            return []
        if self._next is None:
            self._next = self._start[int(self._rng.integers(len(self._start)))]
        chosen, self._next = self._next, None
        self._waiting = chosen.id
        self.rpcs += 1
        return [chosen]

    def answered(self, node: NodeId, contacts: Sequence[Contact]) -> None:
        """Take an answer: the next step first."""
        self._waiting = None
        self._known |= {c.id: c for c in contacts if c.id != self.me}
        others = [c for c in contacts if c.id not in (self.me, node)]  # an answer begins with who
        self._next = others[0] if others else None

    def failed(self, node: NodeId) -> None:
        """Note that a node has not answered in time: the walk begins anew."""
        self._waiting = self._next = None
        self._known.pop(node, None)
        self._start = [c for c in self._start if c.id != node]

    def result(self) -> LookupResult:
        """Return the best contacts met; each step leads to the next, so rounds are requests."""
        known = list(self._known.values())
        if not known:
            return LookupResult((), self.rpcs, self.rpcs)
        prints = np.stack([contact.vector() for contact in known])
        best, _ = cosine_top(self.target, prints, self.k)
        return LookupResult(tuple(known[row] for row in best), self.rpcs, self.rpcs)

    def known(self) -> list[Contact]:
        """Return all contacts that it has come to know."""
        return list(self._known.values())
