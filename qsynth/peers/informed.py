"""What ways of choosing share that know more than a node can: for experiments in `simulate`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsynth.peers.base import Few, Likeness, Peers
from qsynth.peers.random import DrawnPeers
from qsynth.types import NodeId


class Informed(Few):
    """Learn from those alone that the option has `wanted` for a node."""

    informed = True

    def choosing_of(self, wanted: Sequence[NodeId], seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing."""
        return DrawnPeers(self.k, np.random.default_rng([seed, 8]), wanted)
