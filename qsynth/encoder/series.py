"""The encoder `seeded_conv1d`: series through filters drawn from a seed."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qsynth.encoder.base import Encoder
from qsynth.encoder.config import SeededConv1d
from qsynth.encoder.projection import one_over_f
from qsynth.errors import ConfigError
from qsynth.types import Task

WIDTHS = (5, 9, 17)  # of filters, in steps: what moves fast and what moves slowly
MIN_LENGTH = 16


class SeriesEncoder(Encoder):
    """Encode series: seeded smooth filters of three widths, two rectified maps, pooling.

    Source: as `seeded_conv`, along one axis; random convolutions for series as in ROCKET
    (Dempster 2020), with mean pooling in cells instead of maxima over the whole series.
    """

    def __init__(self, config: SeededConv1d, task: Task) -> None:
        super().__init__(config, task)
        channels, length = task.shape
        if length < MIN_LENGTH:
            raise ConfigError(
                f"encoder.name=seeded_conv1d: series must have at least {MIN_LENGTH} steps, "
                f"got {length}; use encoder=seeded_fourier"
            )
        rng = np.random.default_rng([config.seed, 16])
        count = max(config.filters // len(WIDTHS), 1)
        for width in WIDTHS:
            self.register_buffer(f"filters{width}", smooth_filters(rng, count, channels, width))
        self.threshold, self.cells = config.threshold, min(config.cells, length)
        self.finish(partial(one_over_f, rng, config.fit_inputs, task.shape), config.dimensions)

    def _raw(self, inputs: Tensor) -> Tensor:
        maps = []
        for width in WIDTHS:
            filters: Tensor = getattr(self, f"filters{width}")
            responses = F.conv1d(inputs, filters, padding=width // 2)
            maps += [
                F.adaptive_avg_pool1d((responses - self.threshold).relu(), self.cells),
                F.adaptive_avg_pool1d((-responses - self.threshold).relu(), self.cells),
            ]
        # The level itself: filters of zero mean do not see it.
        level = F.adaptive_avg_pool1d(inputs, self.cells).flatten(1)
        return torch.cat([torch.cat(maps, dim=1).sqrt().flatten(1), level], dim=1)


def smooth_filters(rng: np.random.Generator, count: int, channels: int, width: int) -> Tensor:
    """Return (count, channels, width) smooth filters of zero mean and unit norm."""
    noise = rng.standard_normal((count, channels, (width + 1) // 2)).astype(np.float32)
    filters = F.interpolate(torch.from_numpy(noise), size=width, mode="linear", align_corners=True)
    filters = filters - filters.mean(dim=(1, 2), keepdim=True)
    unit: Tensor = filters / filters.flatten(1).norm(dim=1).view(-1, 1, 1)
    return unit
