"""The encoder `identity`: the inputs themselves, in units of the task."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from qsynth.encoder.base import Encoder
from qsynth.encoder.config import Identity
from qsynth.errors import ConfigError
from qsynth.types import Floats32, Task


class IdentityEncoder(Encoder):
    """Encode by nothing but the task's location and scale: never by a node's data.

    Vectors of a task that says neither are taken by the middle of its range and a quarter of it, as
    are series and images.
    """

    def __init__(self, config: Identity, task: Task) -> None:
        super().__init__(config, task)
        size = math.prod(task.shape)
        if size > config.dimensions:
            raise ConfigError(
                f"encoder.dimensions={config.dimensions}: inputs have {size} numbers, and "
                "encoder=identity takes them all; use encoder=seeded_fourier"
            )
        middle, quarter = (task.low + task.high) / 2.0, max((task.high - task.low) / 4.0, 1e-12)
        vector = task.layout == "vector"
        location = np.asarray(task.location if vector and task.location else middle, np.float32)
        scale = np.asarray(task.scale if vector and task.scale else quarter, np.float32)
        self.clip = config.clip
        self.register_buffer("location", torch.from_numpy(np.broadcast_to(location, size).copy()))
        self.register_buffer("scale", torch.from_numpy(np.broadcast_to(scale, size).copy()))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("projection", torch.eye(size))
        self.requires_grad_(False)

    @property
    def units(self) -> tuple[Floats32, Floats32]:
        """Return location and scale of each number of an input, (D,) each."""
        location: Tensor = self.location  # type: ignore[assignment]
        scale: Tensor = self.scale  # type: ignore[assignment]
        return location.cpu().numpy(), scale.cpu().numpy()

    def _standard(self, inputs: Tensor) -> Tensor:
        location: Tensor = self.location  # type: ignore[assignment]
        scale: Tensor = self.scale  # type: ignore[assignment]
        return ((inputs.flatten(1) - location) / scale).clamp(-self.clip, self.clip)

    def _raw(self, inputs: Tensor) -> Tensor:
        return inputs.clone()  # the caller subtracts in place
