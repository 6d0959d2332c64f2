"""What every encoder has: a raw map, and a fixed projection of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.encoder.config import EncoderOptions
from qsynth.encoder.projection import cached, whitened_components
from qsynth.encoder.store import FeatureStore
from qsynth.types import Floats32, Task, config_digest

# Inputs encoded at a time: larger parts leave the cache and cost a page fault each (3 x slower).
BATCH = 16
PROJECTED = 128  # rows projected at a time: the projection, of megabytes, is read once for all


class Encoder(nn.Module):
    """Map inputs (n, *task.shape) to features (n, dimensions), frozen.

    digest: 16 bytes that name this encoder in every packet.  least: features that a packet has at
    least where their number is left to the rule of distillation.
    """

    least: int = 0
    kept_as: str = ""  # what names this map on disk; "": its features are quickly made again

    def __init__(self, config: Any, task: Task) -> None:
        super().__init__()
        told = config.told() if isinstance(config, EncoderOptions) else asdict(config)
        shown = {"encoder": told, "shape": task.shape, "layout": task.layout}
        ranges = {"low": task.low, "high": task.high}
        scaling = {"location": task.location, "scale": task.scale}
        self.digest = config_digest(shown | ranges | scaling)
        self.shape = task.shape
        self.low, self.span = task.low, max(task.high - task.low, 1e-12)

    def finish(self, fit_inputs: Callable[[], Floats32], dimensions: int) -> None:
        """Fit the projection on seeded inputs (in [0, 1] or standard units) and freeze it.

        fit_inputs: draws them; called only where no projection of this digest is kept.
        """

        def fit() -> tuple[Floats32, Floats32]:
            with torch.no_grad():
                parts = torch.from_numpy(fit_inputs()).split(BATCH)
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

    @property
    def units(self) -> tuple[Floats32, Floats32] | None:
        """Return location and scale, (D,) each, where features are the inputs in other units."""
        return None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (n, dimensions) features of (n, *shape) inputs."""
        mean: Tensor = self.mean  # type: ignore[assignment]
        projection: Tensor = self.projection  # type: ignore[assignment]
        return (self._raw(self._standard(inputs)) - mean) @ projection

    def _fast_raw(self, inputs: Tensor) -> Tensor:
        """Return the same as `_raw`, without a gradient."""
        return self._raw(inputs)

    def encode(self, inputs: Floats32 | Tensor, dimensions: int | None = None) -> Floats32:
        """Return the first `dimensions` features of many inputs as (n, d) float32."""
        tensor = torch.as_tensor(inputs)
        mean: Tensor = self.mean  # type: ignore[assignment]
        projection: Tensor = self.projection  # type: ignore[assignment]
        encoded = []
        with torch.no_grad():
            for rows in tensor.split(PROJECTED):
                parts = [self._fast_raw(self._standard(part)) for part in rows.split(BATCH)]
                raw = torch.cat(parts)
                encoded.append((raw.sub_(mean) @ projection)[:, :dimensions])
        if not encoded:
            return np.zeros((0, self.dimensions), np.float32)[:, :dimensions]
        return np.ascontiguousarray(torch.cat(encoded).numpy())

    def encode_kept(self, inputs: Floats32) -> Floats32:
        """Return all features of samples (n, *shape): from disk where they have been made before.

        What takes long to make is kept for each sample; other encoders make features anew.
        """
        if not self.kept_as:
            return self.encode(inputs)
        return FeatureStore(self.kept_as, self.dimensions).features(inputs, self.encode)


def hash_of(network: nn.Module, settings: str = "") -> str:
    """Return the hash of a network's weights, and of what is set beside them."""
    weights = hashlib.sha256(settings.encode())
    for key, value in sorted(network.state_dict().items()):
        weights.update(key.encode() + value.cpu().float().numpy().tobytes())
    return weights.hexdigest()
