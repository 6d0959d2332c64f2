"""Choose authors: what to look up next, and which of the authors found to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from qsynth.dht import Contact
from qsynth.peers.config import RandomPeers, Semantic
from qsynth.similarity import cosine
from qsynth.types import Fingerprint, NodeId


class Peers(Protocol):
    """One way of choosing authors."""

    @property
    def k(self) -> int:
        """Return how many authors a node holds."""

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return what to look up this period: a fingerprint, an id, or nothing."""

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return those contacts of a lookup whose packets are wanted.

        same: how alike a node of the same data would look.
        """

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return which held authors to learn from, at most k, sorted by id."""


class SemanticPeers:
    """Choose the k most alike, above a floor relative to one's own noise."""

    def __init__(self, config: Semantic) -> None:
        self.config, self.k = config, config.k

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return one's own fingerprint."""
        return own if own.any() else None

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return the alike ones among the k best."""
        floor = self.config.min_similarity * same
        alike = [c for c in contacts if c.version > 0 and cosine(own, c.vector()) >= floor]
        return alike[: self.k]

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return the k most alike above the floor."""
        floor = self.config.min_similarity * same
        scored = sorted((-cosine(own, print_), node) for node, print_ in held.items())
        return sorted(node for score, node in scored[: self.k] if -score >= floor)


class DrawnPeers:
    """Choose k nodes once: each is the one nearest to a random id."""

    def __init__(self, config: RandomPeers, rng: np.random.Generator) -> None:
        self.config, self.k = config, config.k
        self._rng = rng
        self._drawn: dict[NodeId, None] = {}

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return a random id; once all are drawn, the id of one of them."""
        if len(self._drawn) < self.k:
            return self._rng.bytes(32)
        return list(self._drawn)[int(self._rng.integers(self.k))]

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Draw the first contact that is new; return the drawn ones found."""
        for contact in contacts:
            new = contact.version > 0 and contact.id not in self._drawn
            if new and len(self._drawn) < self.k:
                self._drawn[contact.id] = None
                break
        return [c for c in contacts if c.id in self._drawn and c.version > 0]

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return the drawn authors."""
        return sorted(node for node in held if node in self._drawn)


class NobodyPeers:
    """Choose nobody."""

    k = 0

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return nothing to look up."""
        return None

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return nobody."""
        return []

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return nobody."""
        return []


def make_peers(config: Any, seed: int) -> Peers:
    """Return the way of choosing that a `peers` config names."""
    if isinstance(config, Semantic):
        return SemanticPeers(config)
    if isinstance(config, RandomPeers):
        return DrawnPeers(config, np.random.default_rng([seed, 8]))
    return NobodyPeers()
