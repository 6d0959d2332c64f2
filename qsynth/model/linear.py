"""The model `linear`: multinomial logistic regression."""

from __future__ import annotations

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
class Linear(Trained):
    """Multinomial logistic regression on flattened inputs."""

    name: str = setting("linear", "the option's name", choices=("linear",))

    def network(self, task: Task) -> nn.Module:
        """Return one linear layer."""
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.shape), task.classes))

    def size(self, shape: tuple[int, ...], outputs: int) -> tuple[int, int] | None:
        """Return parameters, and multiplications of one forward pass."""
        inputs = math.prod(shape)
        return inputs * outputs + outputs, inputs * outputs
