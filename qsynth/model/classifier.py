"""The bundled networks as Lightning modules: forward(x) gives logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from qsynth.model.base import Trained
from qsynth.types import CLASSES, LABELS, VALUES, Task


class Classifier(pl.LightningModule):
    """Train a network with AdamW: by cross-entropy, or as the task's kind of targets asks.

    Inputs (n, *task.shape) in the task's range are centred and scaled to [-1, 1]; vectors by
    the task's location and scale.
    """

    def __init__(self, network: nn.Module, task: Task, config: Trained) -> None:
        super().__init__()
        self.network = network
        self.kind = task.kind
        self.learning_rate = config.learning_rate
        self.weight_decay = config.weight_decay
        self.schedule = config.schedule
        self.augment = config.augment if task.layout == "image" else "none"
        if task.layout == "vector":
            centre, spread = task.location or (0.0,), task.scale or (1.0,)
        else:
            centre, spread = ((task.low + task.high) / 2,), ((task.high - task.low) / 2,)
        self.register_buffer("centre", torch.tensor(centre))
        self.register_buffer("spread", torch.tensor(spread))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, C) logits."""
        centre: Tensor = self.centre  # type: ignore[assignment]
        spread: Tensor = self.spread  # type: ignore[assignment]
        logits: Tensor = self.network((inputs - centre) / spread)
        return logits

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        inputs, labels = batch
        if self.augment != "none":
            inputs = augmented(inputs, flip=self.augment == "shift_flip")
        loss = task_loss(self.kind)(self(inputs), labels)
        if self._trainer is not None and self._trainer.loggers:
            self.log("train_loss", loss)
        return loss

    def make_optimizer(self, max_steps: int) -> tuple[Optimizer, LRScheduler | None]:
        """Return AdamW over all parameters, and the schedule of its learning rate.

        cosine: from the learning rate to 0 over max_steps (Loshchilov 2017); none below 1.
        """
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        if self.schedule == "constant" or max_steps < 1:
            return optimizer, None
        return optimizer, CosineAnnealingLR(optimizer, max_steps)

    def configure_optimizers(self) -> Any:
        """Return what `make_optimizer` does, for the Trainer's `max_steps`, in its words."""
        steps = self._trainer.max_steps if self._trainer is not None else -1
        optimizer, schedule = self.make_optimizer(steps)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def task_loss(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of a kind of task: cross-entropy, that of each label, or the squared error.

    It takes (n, C) outputs and class indices (n,), or targets (n, C), which may be probabilities.
    """
    losses: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        CLASSES: F.cross_entropy,
        LABELS: F.binary_cross_entropy_with_logits,
        VALUES: F.mse_loss,
    }
    return losses[kind]


def augmented(images: Tensor, flip: bool) -> Tensor:
    """Return (n, c, h, w) images, shifted by up to an eighth of a side, half flipped."""
    count, _, height, width = images.shape
    offsets = torch.arange(height), torch.arange(width)
    moved = []
    for grid, side in zip(offsets, (height, width), strict=True):
        by = torch.randint(-(side // 8), side // 8 + 1, (count, 1))
        moved.append((grid[None, :] + by).clamp(0, side - 1))
    rows, columns = moved
    if flip:
        turned = torch.rand(count, 1) < 0.5
        columns = torch.where(turned, columns.flip(1), columns)
    index = torch.arange(count)[:, None, None]
    return images.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )
