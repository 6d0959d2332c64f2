"""The encoder `module`: a frozen network of the user's own, the same on every node."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.encoder.base import Encoder, hash_of
from qsynth.encoder.config import ModuleEncoder
from qsynth.encoder.projection import one_over_f
from qsynth.errors import ConfigError
from qsynth.schema import load_target
from qsynth.types import Floats32, Task, config_digest

PROBES = 16  # seeded inputs that a network is tried on


class OwnEncoder(Encoder):
    """Encode by a network whose weights every site can have, a pre-trained backbone for example.

    Inputs come in the task's range.  The digest covers the weights and the file of the network's
    class: nodes with others refuse each other's packets.
    Source: analytic federated learning rests on such encoders (AFL, Fed3R, FedCGS).
    """

    def __init__(self, config: ModuleEncoder, task: Task, network: nn.Module | None = None) -> None:
        super().__init__(config, task)
        self.network = _load(config) if network is None else network
        self.network.eval().requires_grad_(False)
        rng = np.random.default_rng([config.seed, 17])
        inputs = fit_inputs(rng, config.fit_inputs, task)
        sample = self._checked(inputs[:PROBES])
        told = [asdict(config), self.digest.hex(), hash_of(self.network), _code(self.network)]
        self.digest = config_digest(told)
        if config.whiten:
            self.finish(lambda: inputs, config.dimensions)
            return
        size = min(config.dimensions, sample.shape[1])
        self.register_buffer("mean", torch.zeros(sample.shape[1]))
        self.register_buffer("projection", torch.eye(sample.shape[1])[:, :size])

    def _checked(self, inputs: Floats32) -> Tensor:
        shape = tuple(inputs[:1].shape)
        try:
            with torch.no_grad():
                made, again = (self._raw(torch.from_numpy(inputs)) for _ in range(2))
                one = self._raw(torch.from_numpy(inputs[:1]))
        except Exception as error:  # the user's own code
            first = next(iter(str(error).splitlines()), type(error).__name__)
            raise ConfigError(f"encoder.target: forward(x) of x {shape} fails: {first}") from None
        if made.ndim != 2 or len(made) != len(inputs) or not made.shape[1]:
            raise ConfigError(
                f"encoder.target: forward(x) must give numbers of shape (n, ...), gave "
                f"{tuple(made.shape)}"
            )
        if not torch.isfinite(made).all():
            raise ConfigError("encoder.target: forward(x) gives numbers that are not finite")
        if one.shape[1:] != made.shape[1:] or not torch.equal(made, again):
            raise ConfigError(
                "encoder.target: forward(x) gives other features for the same x; it must be a "
                "fixed map: no dropout, no noise, nothing that depends on the batch"
            )
        return made

    def encode(self, inputs: Floats32 | Tensor, dimensions: int | None = None) -> Floats32:
        """Return features as every encoder does.  Raises ConfigError where one is not finite."""
        made = super().encode(inputs, dimensions)
        bad = ~np.isfinite(made).all(axis=1)
        if bad.any():
            raise ConfigError(
                f"encoder.target: forward(x) gives numbers that are not finite for {bad.sum()} of "
                f"{len(made)} inputs, the first in row {bad.argmax()}"
            )
        return made

    def _standard(self, inputs: Tensor) -> Tensor:
        return inputs

    def _raw(self, inputs: Tensor) -> Tensor:
        made: Tensor = self.network(inputs)
        return made.flatten(1).float()


def _code(network: nn.Module) -> str:
    """Return the hash of the file that holds a network's class, or nothing where there is none."""
    source = getattr(sys.modules.get(type(network).__module__), "__file__", None)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""


def _load(config: ModuleEncoder) -> nn.Module:
    make = load_target("encoder.target", config.target)
    try:
        made = make(**config.arguments)
    except Exception as error:  # the user's own code
        raise ConfigError(
            f"encoder.target={config.target}: cannot be made ({type(error).__name__}: {error})"
        ) from None
    if not isinstance(made, nn.Module):
        raise ConfigError(f"encoder.target={config.target}: must give a torch module")
    return made


def fit_inputs(rng: np.random.Generator, count: int, task: Task) -> Floats32:
    """Return seeded inputs in the task's range: 1/f noise, standard vectors, or any tokens."""
    if task.layout == "tokens":
        drawn = rng.integers(int(task.low), int(task.high) + 1, (count, *task.shape))
        return drawn.astype(np.float32)
    if task.layout == "vector":
        location = np.asarray(task.location or 0.0, np.float32)
        scale = np.asarray(task.scale or 1.0, np.float32)
        noise = rng.standard_normal((count, *task.shape)).astype(np.float32)
        return noise * scale + location
    unit = one_over_f(rng, count, task.shape)
    return (task.low + unit * (task.high - task.low)).astype(np.float32)
