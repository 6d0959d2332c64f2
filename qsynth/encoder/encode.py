"""The encoder of a task: features that every node computes alike, whatever its model."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qsynth.encoder.config import SeededConv, SeededFourier
from qsynth.encoder.projection import cached, one_over_f, whitened_components
from qsynth.errors import ConfigError
from qsynth.types import Floats32, Task, config_digest

FILTER_SIZE = 5
MIN_SIDE = 6  # smaller images leave no room for a filter and a pool
# Inputs encoded at a time: larger parts leave the cache and cost a page fault each (3 x slower).
BATCH = 16


class Encoder(nn.Module):
    """Map inputs (n, *task.shape) to features (n, dimensions), frozen.

    digest: 16 bytes that name this encoder in every packet.
    """

    def __init__(self, config: SeededConv | SeededFourier, task: Task) -> None:
        super().__init__()
        shown = {"encoder": asdict(config), "shape": task.shape, "layout": task.layout}
        ranges = {"low": task.low, "high": task.high}
        scaling = {"location": task.location, "scale": task.scale}
        self.digest = config_digest(shown | ranges | scaling)
        self.shape = task.shape
        self.low, self.span = task.low, max(task.high - task.low, 1e-12)

    def _finish(self, fit_inputs: Floats32, dimensions: int) -> None:
        """Fit the projection on seeded inputs (in [0, 1] or standard units) and freeze it."""

        def fit() -> tuple[Floats32, Floats32]:
            with torch.no_grad():
                parts = torch.from_numpy(fit_inputs).split(BATCH)
                raw = torch.cat([self._raw(part) for part in parts]).numpy()
            return whitened_components(raw, dimensions)

        mean, projection = cached(self.digest, fit)
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("projection", torch.from_numpy(projection))
        self.requires_grad_(False)

    def _raw(self, inputs: Tensor) -> Tensor:
        raise NotImplementedError

    def _standard(self, inputs: Tensor) -> Tensor:
        return (inputs - self.low) / self.span

    @property
    def dimensions(self) -> int:
        """Return the number of features."""
        projection: Tensor = self.projection  # type: ignore[assignment]
        return int(projection.shape[1])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, dimensions) features of (n, *shape) inputs."""
        mean: Tensor = self.mean  # type: ignore[assignment]
        projection: Tensor = self.projection  # type: ignore[assignment]
        return (self._raw(self._standard(inputs)) - mean) @ projection

    def encode(self, inputs: Floats32 | Tensor, dimensions: int | None = None) -> Floats32:
        """Return the first `dimensions` features of many inputs as (n, d) float32."""
        tensor = torch.as_tensor(inputs)
        with torch.no_grad():
            parts = [self(part)[:, :dimensions] for part in tensor.split(BATCH)]
        return np.ascontiguousarray(torch.cat(parts).numpy())


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
        self._finish(one_over_f(rng, config.fit_images, task.shape), config.dimensions)

    def _raw(self, inputs: Tensor) -> Tensor:
        filters: Tensor = self.filters  # type: ignore[assignment]
        responses = F.conv2d(inputs, filters, padding=FILTER_SIZE // 2)
        up = F.avg_pool2d((responses - self.threshold).relu_(), self.pool)
        down = F.avg_pool2d(responses.neg_().sub_(self.threshold).relu_(), self.pool)
        return torch.cat([up, down], dim=1).sqrt_().flatten(1)


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
        if self.vector:
            inputs = rng.standard_normal((config.fit_inputs, size)).astype(np.float32)
        else:
            inputs = one_over_f(rng, config.fit_inputs, task.shape)
        self._finish(inputs, config.dimensions)

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


def make_encoder(config: SeededConv | SeededFourier, task: Task) -> Encoder:
    """Return the encoder of a task.  Raises ConfigError where the layout does not fit."""
    if isinstance(config, SeededConv):
        if task.layout != "image":
            raise ConfigError(
                f"encoder.name=seeded_conv: needs images, the task has layout {task.layout}; "
                "use encoder=seeded_fourier"
            )
        return ConvEncoder(config, task)
    return FourierEncoder(config, task)
