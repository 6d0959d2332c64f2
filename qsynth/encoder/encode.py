"""The encoder of a task: features that every node computes alike, whatever its model."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qsynth.encoder.base import Encoder
from qsynth.encoder.config import EncoderOptions, ModuleEncoder, SeededConv, SeededFourier
from qsynth.encoder.projection import one_over_f
from qsynth.errors import ConfigError
from qsynth.kernels import rectified_means
from qsynth.schema import name_of
from qsynth.types import Floats32, Task

FILTER_SIZE = 5
MIN_SIDE = 6  # smaller images leave no room for a filter and a pool


class ConvEncoder(Encoder):
    """Encode images: seeded 5x5 filters, two rectified maps, pooling, whitened components.

    Source: one layer of Coates, Lee & Ng 2011 (single-layer unsupervised features), with
    filters from a seed instead of from data.
    """

    def __init__(self, config: SeededConv, task: Task) -> None:
        super().__init__(config, task)
        channels, height, width = task.shape
        if min(height, width) < MIN_SIDE:
            raise ConfigError(
                f"encoder.name=seeded_conv: images must be at least {MIN_SIDE} pixels a side, "
                f"got {height}x{width}; use encoder=seeded_fourier"
            )
        rng = np.random.default_rng([config.seed, 1])
        self.register_buffer("filters", seeded_filters(rng, config.filters, channels))
        self.threshold = config.threshold
        # About 4x4 pooled cells, whatever the size: measured on 14x14, 16x16 and 8x8 images.
        self.pool = max(2, math.ceil(min(height, width) / 4))
        self.finish(partial(one_over_f, rng, config.fit_images, task.shape), config.dimensions)

    def _raw(self, inputs: Tensor) -> Tensor:
        filters: Tensor = self.filters  # type: ignore[assignment]
        responses = F.conv2d(inputs, filters, padding=FILTER_SIZE // 2)
        up = F.avg_pool2d((responses - self.threshold).relu_(), self.pool)
        down = F.avg_pool2d(responses.neg_().sub_(self.threshold).relu_(), self.pool)
        return torch.cat([up, down], dim=1).sqrt_().flatten(1)

    def _fast_raw(self, inputs: Tensor) -> Tensor:
        filters: Tensor = self.filters  # type: ignore[assignment]
        responses = F.conv2d(inputs, filters, padding=FILTER_SIZE // 2)
        count, width, *sides = responses.shape
        pooled = torch.empty(count, 2 * width, *(side // self.pool for side in sides))
        rectified_means(
            responses.contiguous().numpy(), np.float32(self.threshold), self.pool, pooled.numpy()
        )
        return pooled.sqrt_().flatten(1)


class FourierEncoder(Encoder):
    """Encode vectors and flattened series by random Fourier features.

    Source: Rahimi & Recht 2007 (random features for kernel machines), followed by whitened
    components.  Vectors are scaled by the task's location and scale, never by a node's data.
    """

    def __init__(self, config: SeededFourier, task: Task) -> None:
        super().__init__(config, task)
        size = math.prod(task.shape)
        rng = np.random.default_rng([config.seed, 2])
        frequencies = rng.standard_normal((size, config.frequencies))
        frequencies /= config.bandwidth * math.sqrt(size)
        phases = rng.uniform(0.0, 2.0 * math.pi, config.frequencies)
        self.register_buffer("frequencies", torch.from_numpy(frequencies.astype(np.float32)))
        self.register_buffer("phases", torch.from_numpy(phases.astype(np.float32)))
        self.vector = task.layout == "vector"
        location = np.broadcast_to(np.asarray(task.location or 0.0, np.float32), (size,))
        scale = np.broadcast_to(np.asarray(task.scale or 1.0, np.float32), (size,))
        self.register_buffer("location", torch.from_numpy(location.copy()))
        self.register_buffer("scale", torch.from_numpy(scale.copy()))

        def fit_inputs() -> Floats32:
            if self.vector:
                return rng.standard_normal((config.fit_inputs, size)).astype(np.float32)
            return one_over_f(rng, config.fit_inputs, task.shape)

        self.finish(fit_inputs, config.dimensions)

    def _standard(self, inputs: Tensor) -> Tensor:
        if not self.vector:
            return super()._standard(inputs)
        location: Tensor = self.location  # type: ignore[assignment]
        scale: Tensor = self.scale  # type: ignore[assignment]
        return (inputs - location) / scale

    def _raw(self, inputs: Tensor) -> Tensor:
        frequencies: Tensor = self.frequencies  # type: ignore[assignment]
        phases: Tensor = self.phases  # type: ignore[assignment]
        flat = inputs.flatten(1)
        if not self.vector:
            flat = (flat - 0.5) / 0.25  # the mean and spread of the fit inputs
        waves = torch.cos(flat @ frequencies + phases)
        return torch.cat([flat / math.sqrt(flat.shape[1]), waves / math.sqrt(waves.shape[1])], 1)


def seeded_filters(rng: np.random.Generator, count: int, channels: int) -> Tensor:
    """Return (count, channels, 5, 5) smooth filters of zero mean and unit norm."""
    noise = rng.standard_normal((count, channels, 3, 3)).astype(np.float32)
    filters = F.interpolate(
        torch.from_numpy(noise), size=FILTER_SIZE, mode="bicubic", align_corners=True
    )
    filters = filters - filters.mean(dim=(1, 2, 3), keepdim=True)
    unit: Tensor = filters / filters.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return unit


def make_encoder(config: EncoderOptions, task: Task, network: nn.Module | None = None) -> Encoder:
    """Return the encoder of a task.  Raises ConfigError where the layout does not fit.

    network: that of `encoder=module`, in place of what its target would make.
    """
    config.check_layout(task.layout)
    if network is None:
        made: Encoder = config.encoding()(config, task)
    elif isinstance(config, ModuleEncoder):
        made = config.encoding()(config, task, network=network)
    else:
        raise ConfigError(f"encoder.name={name_of(config)}: takes no network; encoder=module does")
    made.least = config.least(math.prod(task.shape))
    return made
