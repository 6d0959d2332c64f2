"""Peers `oracle`: nodes of one's own true group, for experiments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.peers.base import KnownFleet
from qsynth.peers.informed import Informed
from qsynth.schema import option, setting
from qsynth.types import NodeId


@option("peers")
@dataclass(frozen=True)
class Oracle(Informed):
    """Learn from nodes of one's own true group, drawn once: for experiments in `simulate`."""

    name: str = setting("oracle", "the option's name", choices=("oracle",))

    def wanted(self, fleet: KnownFleet) -> dict[str, list[NodeId]]:
        """Return k of each node's own group, drawn by its seed."""
        wanted = {}
        for name, group in fleet.groups.items():
            mates = [other for other in fleet.groups if fleet.groups[other] == group]
            mates.remove(name)
            rng = np.random.default_rng([fleet.seeds[name], 11])
            drawn = rng.permutation(len(mates))[: self.k]
            wanted[name] = [fleet.ids[mates[i]] for i in sorted(drawn)]
        return wanted
