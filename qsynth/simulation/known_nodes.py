"""What only a simulation knows of a fleet: true groups, and everybody's fingerprint at once."""

from __future__ import annotations

from collections.abc import Mapping

from qsynth.host.plan_node import make_pipeline
from qsynth.identity import Identity
from qsynth.peers.base import Situation
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import Fingerprint


class KnownNode:
    """What a node of a plan would publish."""

    def __init__(self, plan: RunPlan, node: NodePlan) -> None:
        self._pipeline = make_pipeline(plan, node)
        published = self._pipeline.distil()
        self.support = published.support
        self.fingerprint, self.query = published.fingerprint, published.query
        self.same = self._pipeline.self_similarity()

    def alike(self, one: Fingerprint, other: Fingerprint) -> float:
        """Return how alike two fingerprints are."""
        return float(self._pipeline.alike(one, other))


class KnownNodes:
    """All nodes of a plan, by their names: what `peers` oracle and central choose by."""

    def __init__(self, plan: RunPlan) -> None:
        self._plan = plan
        self.ids = {node.name: Identity.seeded(plan.seed, node.name).id for node in plan.nodes}
        self.seeds = {node.name: node.seed for node in plan.nodes}
        self.groups = {node.name: node.share.group for node in plan.nodes}

    def situations(self) -> Mapping[str, Situation]:
        """Return what each node would publish."""
        return {node.name: KnownNode(self._plan, node) for node in self._plan.nodes}
