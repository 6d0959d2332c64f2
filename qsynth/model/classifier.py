"""The bundled networks as Lightning modules: forward(x) gives logits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from qsynth.model.config import CNN, MLP, Linear, ResNet
from qsynth.types import CLASSES, LABELS, VALUES, Task


class Classifier(pl.LightningModule):
    """Train a network with AdamW: by cross-entropy, or as the task's kind of targets asks.

    Inputs (n, *task.shape) in the task's range are centred and scaled to [-1, 1]; vectors by
    the task's location and scale.
    """

    def __init__(self, network: nn.Module, task: Task, config: Linear | MLP | CNN | ResNet) -> None:
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


def mlp(config: MLP, task: Task) -> nn.Module:
    """Return fully connected layers."""
    sizes = [math.prod(task.shape), *[config.width] * config.depth]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
        if config.dropout:
            layers.append(nn.Dropout(config.dropout))
    return nn.Sequential(*layers, nn.Linear(sizes[-1], task.classes))


def linear(task: Task) -> nn.Module:
    """Return one linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.shape), task.classes))


def cnn(config: CNN, task: Task) -> nn.Module:
    """Return stages of convolution, GroupNorm, ReLU and pooling."""
    channels, layers = task.shape[0], list[nn.Module]()
    for stage in range(config.depth):
        width = config.width * 2**stage
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(1, width), nn.ReLU()]
        if min(task.shape[1:]) >= 2 ** (stage + 1):
            layers.append(nn.MaxPool2d(2))
        channels = width
    return nn.Sequential(*layers, _Pooled(channels, task.classes))


def resnet(config: ResNet, task: Task) -> nn.Module:
    """Return a stem and residual blocks, the first stage at half the resolution."""
    width = config.width
    layers: list[nn.Module] = [nn.Conv2d(task.shape[0], width, 3, padding=1)]
    for stage in range(config.depth):
        after = config.width * 2**stage
        layers.append(_Block(width, after, config.groups))
        width = after
    return nn.Sequential(*layers, _Pooled(width, task.classes))


class _Pooled(nn.Module):
    """Average and maximum over space, then a linear layer."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.last = nn.Linear(2 * channels, classes)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        logits: Tensor = self.last(pooled)
        return logits


class _Block(nn.Module):
    """A residual block of two convolutions at half the resolution.

    Source: He 2016 (pre-activation), with GroupNorm (Wu & He 2018): batch statistics of a small
    node are noise.
    """

    def __init__(self, before: int, after: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, before), nn.GroupNorm(groups, after)
        self.conv1 = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(before, after, 1, stride=2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        active = F.relu(self.norm1(maps))
        inner = self.conv2(F.relu(self.norm2(self.conv1(active))))
        result: Tensor = self.skip(active) + inner
        return result
