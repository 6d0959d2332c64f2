"""Peers `dissimilar`: the least alike, a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qsynth.peers.base import Few, Fixed, Likeness, Peers
from qsynth.schema import option, setting
from qsynth.similarity import cosine
from qsynth.types import Fingerprint, NodeId

if TYPE_CHECKING:
    from qsynth.dht import Contact


@option("peers")
@dataclass(frozen=True)
class Dissimilar(Few):
    """Learn from the nodes whose data situation is least alike: a control."""

    name: str = setting("dissimilar", "the option's name", choices=("dissimilar",))

    def choosing(self, seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing."""
        return DissimilarPeers(self.k)


class DissimilarPeers(Fixed):
    """Choose the k least alike: look up the opposite of one's own fingerprint."""

    hurry = False

    def __init__(self, k: int) -> None:
        self.k = k

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return the opposite of one's own fingerprint."""
        return np.negative(own) if own.any() else None

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return the k least alike."""
        published = [c for c in contacts if c.version > 0]
        return sorted(published, key=lambda c: (cosine(own, c.vector()), c.id))[: self.k]

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return the k least alike."""
        scored = sorted((cosine(own, print_), node) for node, print_ in held.items())
        return sorted(node for _, node in scored[: self.k])
