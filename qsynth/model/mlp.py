"""The model `mlp`: fully connected layers."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsynth.lazy import Deferred
from qsynth.model.base import Trained
from qsynth.schema import option, setting
from qsynth.types import Task

if TYPE_CHECKING:
    from torch import nn
else:
    nn = Deferred("torch.nn")


@option("model")
@dataclass(frozen=True)
class MLP(Trained):
    """Fully connected layers with ReLU on flattened inputs."""

    name: str = setting("mlp", "the option's name", choices=("mlp",))
    width: int = setting(64, "units of a hidden layer", low=1, high=65536)
    depth: int = setting(1, "hidden layers", low=1, high=64)
    dropout: float = setting(0.0, "share of units left out", low=0.0, high=0.95)

    def one_by_one(self, layout: str) -> str | None:
        """Return the setting that keeps it from training in one computation with others."""
        return "model.dropout" if self.dropout else super().one_by_one(layout)

    def network(self, task: Task) -> nn.Module:
        """Return fully connected layers."""
        sizes = [math.prod(task.shape), *[self.width] * self.depth]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
        return nn.Sequential(*layers, nn.Linear(sizes[-1], task.classes))

    def size(self, shape: tuple[int, ...], outputs: int) -> tuple[int, int] | None:
        """Return parameters, and multiplications of one forward pass."""
        widths = [math.prod(shape), *[self.width] * self.depth, outputs]
        pairs = list(itertools.pairwise(widths))
        work = sum(before * after for before, after in pairs)
        return work + sum(after for _, after in pairs), work
