"""The model `cnn`: convolutions, then global averages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
class CNN(OfImages):
    """Convolutions with ReLU, halving the side at every stage, then global averages."""

    name: str = setting("cnn", "the option's name", choices=("cnn",))
    width: int = setting(16, "channels of the first stage; each later one has twice as many", low=1)
    depth: int = setting(2, "stages", low=1, high=6)

    def network(self, task: Task) -> nn.Module:
        """Return stages of convolution, GroupNorm, ReLU and pooling."""
        channels, stages = task.shape[0], list[Any]()
        for stage in range(self.depth):
            width = self.width * 2**stage
            stages += [nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(1, width), nn.ReLU()]
            if min(task.shape[1:]) >= 2 ** (stage + 1):
                stages.append(nn.MaxPool2d(2))
            channels = width
        return nn.Sequential(*stages, layers.Pooled(channels, task.classes))

    def size(self, shape: tuple[int, ...], outputs: int) -> tuple[int, int] | None:
        """Return parameters, and multiplications of one forward pass; None of no images."""
        if len(shape) != 3:
            return None
        before, parameters, work = shape[0], 0, 0
        sides = list(shape[1:])
        for stage in range(self.depth):
            width = self.width * 2**stage
            weights = KERNEL * before * width
            parameters += weights + width + 2 * width  # bias, and GroupNorm's two
            work += weights * math.prod(sides)
            if min(shape[1:]) >= 2 ** (stage + 1):
                sides = [side // 2 for side in sides]
            before = width
        return pooled_size(before, outputs, parameters, work)
