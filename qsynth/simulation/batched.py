"""Nodes whose networks train in one computation: simulated ones, and those of one process."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from qsynth.host.artifacts import write_predictor
from qsynth.mesh import MemoryNetwork
from qsynth.model import make_network
from qsynth.model.classifier import Classifier
from qsynth.pipeline.publication import Publication
from qsynth.simulation.node import SimulatedNode
from qsynth.training.fit import seed_node, why_a_trainer
from qsynth.training.learner import Exchange
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.training.provenance import note_trained
from qsynth.training.stacked import BatchedLearners, Slot
from qsynth.trust import Admitted
from qsynth.types import NodeId


def one_by_one(plan: RunPlan, node: NodePlan) -> str | None:
    """Return why a node cannot train in one computation with others; None where it can."""
    key: str | None = node.model.one_by_one(plan.data.task.layout)
    if len(node.share.ends) > 1:
        return "growth"
    return key or plan.rules.synthesis.one_by_one() or why_a_trainer(plan, node)


def learner_notes(plan: RunPlan) -> list[str]:
    """Return a line for each reason that keeps nodes from training in one computation."""
    if plan.placement.learner != "batched":
        threads = plan.placement.threads
        unused = f"placement.threads={threads}: only placement.learner=batched uses them"
        return [unused] if threads > 1 else []
    reasons = Counter(reason for node in plan.nodes if (reason := one_by_one(plan, node)))
    return [
        f"placement.learner=batched: {count} of {len(plan.nodes)} nodes train one by one ({reason})"
        for reason, count in sorted(reasons.items())
    ]


def learners_of(plan: RunPlan, nodes: Sequence[NodePlan]) -> dict[int, BatchedLearners]:
    """Return what trains each node that can, by its index: one for those that are alike."""
    if plan.placement.learner != "batched":
        return {}
    alike: dict[Any, list[NodePlan]] = defaultdict(list)
    for node in nodes:
        if one_by_one(plan, node) is None:
            alike[node.model].append(node)
    found: dict[int, BatchedLearners] = {}
    for members in alike.values():
        template = make_network(members[0].model, plan.data.task)
        assert isinstance(template, Classifier)
        learners = BatchedLearners(
            template,
            len(members),
            plan.trainer.max_steps,
            plan.trainer.gradient_clip_norm,
            plan.placement.threads,
        )
        found |= {node.index: learners for node in members}
    return found


class BatchedFit:
    """One node's training among those that train in one computation.

    period: that it has reached.
    """

    def __init__(self, plan: RunPlan, node: NodePlan, learners: BatchedLearners) -> None:
        self.plan, self.node, self.learners = plan, node, learners
        self.period = 0
        self._drifted = False
        seed_node(node.seed)
        made = make_network(node.model, plan.data.task, f"fleet.{node.name}.model")
        assert isinstance(made, Classifier)
        samples = plan.samples(node)
        loader = torch.Generator().manual_seed(node.seed)
        teacher = torch.Generator().manual_seed(node.seed)
        size = min(plan.batch_size, len(samples.train_y))
        inputs, targets = torch.tensor(samples.train_x), torch.tensor(samples.train_y)
        self.number = learners.add(made, Slot(inputs, targets, size, loader, teacher))

    @property
    def slot(self) -> Slot:
        """Return the node's place among the others."""
        return self.learners.slots[self.number]

    def network(self) -> Classifier:
        """Return the node's network as it is, until another node's is asked for."""
        return self.learners.network(self.number)

    def train(self) -> None:
        """Do the steps of a period; who waits as well trains with it."""
        self.learners.ready(self.number)
        self.period += 1

    def turn(self, exchange: Exchange) -> bool:
        """Exchange, and ask for the steps of the next period; return whether that was the last."""
        trainer, slot = self.plan.trainer, self.slot
        due = self.plan.drift_period is not None and self.period >= self.plan.drift_period
        if due and self.node.later is not None and not self._drifted:
            after, self._drifted = self.plan.samples(self.node.later), True
            slot.inputs[:] = torch.from_numpy(after.train_x[: len(slot.inputs)])
            slot.targets[:] = torch.from_numpy(after.train_y[: len(slot.targets)])
        teaching = exchange(self.period, self.network().train())
        if self.period >= trainer.periods:
            return True
        steps = min(trainer.period_steps, trainer.max_steps - slot.steps)
        self.learners.ask(self.number, steps, teaching)
        return False

    def state(self) -> dict[str, Any]:
        """Return what the fit goes on from, at the end of `train`."""
        return {
            "period": self.period,
            "slot": self.slot.progress(),
            "weights": self.learners.weights(self.number),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave; the next `turn` exchanges as it would have."""
        self.period = state["period"]  # where it has drifted, the next turn deals its samples again
        self.slot.go_on(state["slot"])
        self.learners.set_weights(self.number, state["weights"])


class _Held:
    """Stand for a fit's handle: what is to be kept of a batched fit, its learners keep."""

    ended = False

    def save(self, path: Path) -> None:
        """Write nothing."""


class BatchedNode(SimulatedNode):
    """A node without a thread: its turn lets it, and all who wait as well, train first."""

    def __init__(
        self,
        plan: RunPlan,
        node: NodePlan,
        network: MemoryNetwork,
        wanted: Sequence[NodeId] | None,
        learners: BatchedLearners,
    ) -> None:
        super().__init__(plan, node, network, wanted)
        self.handle: Any = _Held()
        self.fit = BatchedFit(plan, node, learners)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a snapshot has kept."""
        super().__setstate__(state)
        self.handle = _Held()

    def start(self, now: float) -> None:
        """Exchange for the first time."""
        self.note([{"event": "started", "id": self.machine.me.hex()}])
        self.started = True
        self._exchanged()
        self._schedule(now)

    def go_on(self, saved: Path) -> None:
        """Go on as a snapshot has kept it."""
        note_trained(self.plan, self.node)
        self.recorder.reopen(self.plan.node_folder(self.node) / "events.jsonl")

    def end_period(
        self, period: int, publication: Publication | None, same: float
    ) -> Mapping[NodeId, Admitted]:
        """Exchange now: it is the node's turn."""
        self.period = period
        self.apply(self.machine.end_period(self.network.now, period, publication, same))
        return self.machine.authors()

    def _turn(self, now: float) -> None:
        self.fit.train()
        self._exchanged()
        self._schedule(now)

    def _exchanged(self) -> None:
        if self.fit.turn(self._exchange):
            network = self.fit.network().eval()
            self.weight = write_predictor(self.plan, self.node, self.participant, network)
            self.finished_s = self.network.now
            self.done = True
