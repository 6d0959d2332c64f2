"""Peers `all`: every node."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.peers.base import Likeness, Peers, PeersOptions
from qsynth.peers.semantic import SemanticPeers
from qsynth.schema import option, setting


@option("peers")
@dataclass(frozen=True)
class AllPeers(PeersOptions):
    """Learn from every node; without the gate this is AFL (analytic federated learning)."""

    name: str = setting("all", "the option's name", choices=("all",))
    k: int = setting(255, "authors a node holds packets of at most", low=1, high=256)

    def first(self) -> int:
        """Return how many authors a node looks for."""
        return self.k

    def choosing(self, seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing."""
        return SemanticPeers(self.k, -np.inf, alike)
