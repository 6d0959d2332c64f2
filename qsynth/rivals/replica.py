"""One node's network and optimizer, trained a few steps at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from qsynth.model import make_network
from qsynth.training.fit import seed_node
from qsynth.training.plan import NodePlan, RunPlan

State = dict[str, Tensor]
Extra = Callable[[Tensor, Tensor], Tensor]


class Replica:
    """Train a node's network between two exchanges of weights.

    A bare loop over the module's own `training_step` and optimizer: the arms with weights have
    no Trainer, and so less overhead than the mesh.  The optimizer's state stays with the node.
    """

    def __init__(self, plan: RunPlan, node: NodePlan, model_seed: int) -> None:
        seed_node(model_seed)
        self.node = node
        self.network: pl.LightningModule = make_network(
            node.model, plan.data.task, f"fleet.{node.name}.model"
        )
        samples = plan.samples(node)
        self.inputs, self.labels = (
            torch.from_numpy(samples.train_x),
            torch.from_numpy(samples.train_y),
        )
        self.loader = DataLoader(
            TensorDataset(self.inputs, self.labels),
            batch_size=min(plan.batch_size, len(samples.train_y)),
            shuffle=True,
            drop_last=True,
            generator=torch.Generator().manual_seed(node.seed),
        )
        self.clip = plan.trainer.gradient_clip_norm
        self.optimizer = _optimizer(self.network.configure_optimizers())
        self._batches: Iterator[Any] = iter(self.loader)

    def train(self, steps: int, extra: Extra | None = None) -> None:
        """Take optimizer steps.  extra: a further loss of a batch's inputs and labels."""
        self.network.train()
        for index in range(steps):
            batch = self._next()
            self.optimizer.zero_grad()
            loss: Any = self.network.training_step(batch, index)
            loss = loss["loss"] if isinstance(loss, dict) else loss
            if extra is not None:
                loss = loss + extra(*batch)
            loss.backward()
            if self.clip is not None:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
            self.optimizer.step()
        self.network.eval()

    def state(self) -> State:
        """Return a copy of the weights."""
        return {key: value.clone() for key, value in self.network.state_dict().items()}

    def load(self, state: State) -> None:
        """Take over weights."""
        self.network.load_state_dict(state)

    def loss(self, state: State) -> float:
        """Return the mean cross-entropy of other weights on the node's own training samples."""
        mine = self.state()
        self.load(state)
        with torch.no_grad():
            value = float(nn.functional.cross_entropy(self.network(self.inputs), self.labels))
        self.load(mine)
        return value

    def _next(self) -> Any:
        try:
            return next(self._batches)
        except StopIteration:
            self._batches = iter(self.loader)
            return next(self._batches)


def _optimizer(configured: Any) -> torch.optim.Optimizer:
    """Return the one optimizer that a module configures; its schedulers are left out."""
    if isinstance(configured, dict):
        configured = configured["optimizer"]
    while isinstance(configured, (list, tuple)):
        configured = configured[0]
    optimizer: torch.optim.Optimizer = configured
    return optimizer


def average(states: list[State], weights: list[float]) -> State:
    """Return the weighted mean of weights; whole numbers are taken from the first."""
    total = sum(weights)
    mean: State = {}
    for key, first in states[0].items():
        if not first.is_floating_point():
            mean[key] = first.clone()
            continue
        mean[key] = sum(
            (state[key] * (weight / total) for state, weight in zip(states, weights, strict=True)),
            torch.zeros_like(first),
        )
    return mean


def state_bytes(state: State) -> int:
    """Return the bytes of all weights as they are sent: 4 a float."""
    return sum(value.numel() * value.element_size() for value in state.values())
