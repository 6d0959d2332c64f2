"""Peers `central`: the most alike by an index that knows all, for experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.peers.base import Alike, Few, KnownFleet, Likeness, Peers
from qsynth.peers.random import DrawnPeers
from qsynth.schema import option, setting
from qsynth.types import NodeId


@option("peers")
@dataclass(frozen=True)
class Central(Alike, Few):
    """Learn from the most alike by an index that knows all: for experiments in `simulate`."""

    informed = True
    name: str = setting("central", "the option's name", choices=("central",))

    def wanted(self, fleet: KnownFleet) -> dict[str, list[NodeId]]:
        """Return the k most alike of each node, above its floor; who publishes nothing is none."""
        known = fleet.situations()
        prints = {name: node.fingerprint for name, node in known.items() if node.support}
        wanted = {}
        for name, node in known.items():
            floor = self.min_similarity * node.same
            alike = sorted(
                (-node.alike(node.query, prints[other]), fleet.ids[other])
                for other in prints
                if other != name
            )
            wanted[name] = [i for score, i in alike[: self.k] if -score >= floor]
        return wanted

    def choosing_of(self, wanted: Sequence[NodeId], seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing: those alone that it is told."""
        return DrawnPeers(self.k, np.random.default_rng([seed, 8]), wanted)
