"""Peers `central`: the most alike by an index that knows all, for experiments."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.peers.base import Alike, KnownFleet
from qsynth.peers.informed import Informed
from qsynth.schema import option, setting
from qsynth.types import NodeId


@option("peers")
@dataclass(frozen=True)
class Central(Alike, Informed):
    """Learn from the most alike by an index that knows all: for experiments in `simulate`."""

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
