"""Nodes of the placement `simulate` whose networks train in one computation."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from qsynth.mesh import MemoryNetwork
from qsynth.model import make_network
from qsynth.model.classifier import Classifier
from qsynth.model.config import Module
from qsynth.node.batched import BatchedLearners, Slot
from qsynth.node.outcome import Outcome
from qsynth.placement.finish import write_predictor
from qsynth.placement.plan import NodePlan, Plan
from qsynth.placement.simulated import SimulatedNode
from qsynth.placement.train import seed_node
from qsynth.trust import Admitted
from qsynth.types import NodeId


def one_by_one(plan: Plan, node: NodePlan) -> str | None:
    """Return why a node cannot train in one computation with others; None where it can."""
    model, synthesis = node.model, plan.rules.synthesis
    if isinstance(model, Module):
        return "model=module"
    if getattr(model, "dropout", 0.0):
        return "model.dropout"
    if model.augment != "none" and plan.data.task.layout == "image":
        return "model.augment"
    if getattr(synthesis, "network", "apart") != "apart":
        return f"synthesis.network={synthesis.network}"
    if plan.trainer.arguments:
        return "trainer.arguments"
    return "trainer.logger" if plan.trainer.logger != "none" else None


def learner_notes(plan: Plan) -> list[str]:
    """Return a line for each reason that keeps nodes from training in one computation."""
    if getattr(plan.placement, "learner", "single") != "batched":
        return []
    reasons = Counter(reason for node in plan.nodes if (reason := one_by_one(plan, node)))
    return [
        f"placement.learner=batched: {count} of {len(plan.nodes)} nodes train one by one ({reason})"
        for reason, count in sorted(reasons.items())
    ]


def learners_of(plan: Plan) -> dict[int, BatchedLearners]:
    """Return what trains each node that can, by its index: one for those that are alike."""
    if getattr(plan.placement, "learner", "single") != "batched":
        return {}
    alike: dict[Any, list[NodePlan]] = defaultdict(list)
    for node in plan.nodes:
        if one_by_one(plan, node) is None:
            alike[node.model].append(node)
    found: dict[int, BatchedLearners] = {}
    for members in alike.values():
        template = make_network(members[0].model, plan.data.task)
        assert isinstance(template, Classifier)
        learners = BatchedLearners(
            template, len(members), plan.trainer.max_steps, plan.trainer.gradient_clip_norm
        )
        found |= {node.index: learners for node in members}
    return found


class _Held:
    """Stand for a fit's handle: what is to be kept of a batched fit, its learners keep."""

    ended = False

    def save(self, path: Path) -> None:
        """Write nothing."""


class BatchedNode(SimulatedNode):
    """A node without a thread: its turn lets it, and all who wait as well, train first."""

    def __init__(
        self, plan: Plan, node: NodePlan, network: MemoryNetwork,
        wanted: Sequence[NodeId] | None, learners: BatchedLearners,
    ) -> None:  # fmt: skip
        super().__init__(plan, node, network, wanted)
        self.learners = learners
        self.handle: Any = _Held()
        self._drifted = False
        seed_node(node.seed)
        made = make_network(node.model, plan.data.task, f"fleet.{node.name}.model")
        assert isinstance(made, Classifier)
        samples = plan.samples(node)
        loader = torch.Generator().manual_seed(node.seed)
        teacher = torch.Generator().manual_seed(node.seed)
        size = min(plan.batch_size, len(samples.train_y))
        inputs, targets = torch.tensor(samples.train_x), torch.tensor(samples.train_y)
        self.slot = learners.add(made, Slot(inputs, targets, size, loader, teacher))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a snapshot has kept."""
        super().__setstate__(state)
        self.handle = _Held()

    def start(self, now: float) -> None:
        """Exchange for the first time."""
        self.note([{"event": "started", "id": self.machine.me.hex()}])
        self.started = True
        self._turn_of(0)
        self._schedule(now)

    def go_on(self, saved: Path) -> None:
        """Go on as a snapshot has kept it."""
        self.recorder.reopen(self.plan.node_folder(self.node) / "events.jsonl")

    def end_period(
        self, period: int, outcome: Outcome | None, same: float
    ) -> Mapping[NodeId, Admitted]:
        """Exchange now: it is the node's turn."""
        self.period = period
        self.apply(self.machine.end_period(self.network.now, period, outcome, same))
        return self.machine.authors()

    def _turn(self, now: float) -> None:
        self.learners.ready(self.slot)
        self._turn_of(self.period + 1)
        self._schedule(now)

    def _turn_of(self, period: int) -> None:
        trainer, slot = self.plan.trainer, self.learners.slots[self.slot]
        due = self.plan.drift_period is not None and period >= self.plan.drift_period
        if due and self.node.later is not None and not self._drifted:
            after, self._drifted = self.plan.samples(self.node.later), True
            slot.inputs[:] = torch.from_numpy(after.train_x[: len(slot.inputs)])
            slot.targets[:] = torch.from_numpy(after.train_y[: len(slot.targets)])
        teaching = self._exchange(period, self.learners.network(self.slot).train())
        if period < trainer.periods:
            steps = min(trainer.period_steps, trainer.max_steps - slot.steps)
            self.learners.ask(self.slot, steps, teaching)
            return
        self.weight = write_predictor(
            self.plan, self.node, self.participant, self.learners.network(self.slot).eval()
        )
        self.finished_s = self.network.now
        self.done = True
