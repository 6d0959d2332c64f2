"""The model `resnet`: a small residual network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qsynth.errors import ConfigError
from qsynth.lazy import Deferred
from qsynth.model.base import KERNEL, OfImages, pooled_size
from qsynth.schema import option, setting
from qsynth.types import Task

if TYPE_CHECKING:
    from torch import nn

    from qsynth.model import layers
else:
    nn = Deferred("torch.nn")
    layers = Deferred("qsynth.model.layers")


@option("model")
@dataclass(frozen=True)
class ResNet(OfImages):
    """A small residual network with GroupNorm."""

    name: str = setting("resnet", "the option's name", choices=("resnet",))
    width: int = setting(16, "channels of the first stage; each later one has twice as many", low=4)
    depth: int = setting(2, "stages of one residual block", low=1, high=6)
    groups: int = setting(4, "of GroupNorm; must divide width", low=1)

    def check_at(self, path: str) -> None:
        """Raise ConfigError unless the groups of GroupNorm divide the channels."""
        if self.width % self.groups:
            raise ConfigError(f"{path}.groups={self.groups}: must divide width {self.width}")

    def network(self, task: Task) -> nn.Module:
        """Return a stem and residual blocks, the first stage at half the resolution."""
        width = self.width
        stages: list[Any] = [nn.Conv2d(task.shape[0], width, 3, padding=1)]
        for stage in range(self.depth):
            after = self.width * 2**stage
            stages.append(layers.Block(width, after, self.groups))
            width = after
        return nn.Sequential(*stages, layers.Pooled(width, task.classes))

    def size(self, shape: tuple[int, ...], outputs: int) -> tuple[int, int] | None:
        """Return parameters, and multiplications of one forward pass; None of no images."""
        if len(shape) != 3:
            return None
        before, sides = self.width, list(shape[1:])
        stem = KERNEL * shape[0] * before
        parameters, work = stem + before, stem * math.prod(sides)
        for stage in range(self.depth):
            after = self.width * 2**stage
            sides = [-(-side // 2) for side in sides]
            weights = KERNEL * before * after + KERNEL * after * after + before * after
            parameters += weights + 2 * before + 2 * after
            work += weights * math.prod(sides)
            before = after
        return pooled_size(before, outputs, parameters, work)
