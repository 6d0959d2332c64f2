"""The encoder `module`: a frozen network of the user's own, the same on every node."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.encoder.base import Encoder
from qsynth.encoder.config import ModuleEncoder
from qsynth.encoder.projection import one_over_f
from qsynth.errors import ConfigError
from qsynth.types import Task, config_digest


class OwnEncoder(Encoder):
    """Encode by a network whose weights every site can have, a pre-trained backbone for example.

    Inputs come in the task's range.  The digest covers the weights: nodes with other weights
    refuse each other's packets.  Source: analytic federated learning rests on such encoders
    (AFL, Fed3R, FedCGS).
    """

    def __init__(self, config: ModuleEncoder, task: Task) -> None:
        super().__init__(config, task)
        self.network = _load(config)
        self.network.eval().requires_grad_(False)
        weights = hashlib.sha256()
        for key, value in sorted(self.network.state_dict().items()):
            weights.update(key.encode() + value.cpu().numpy().tobytes())
        self.digest = config_digest([asdict(config), self.digest.hex(), weights.hexdigest()])
        shape = tuple(self._checked(task).shape)
        rng = np.random.default_rng([config.seed, 17])
        if config.whiten:
            self.finish(_fit_inputs(rng, config.fit_inputs, task), config.dimensions)
            return
        size = min(config.dimensions, shape[1])
        self.register_buffer("mean", torch.zeros(shape[1]))
        self.register_buffer("projection", torch.eye(shape[1])[:, :size])

    def _checked(self, task: Task) -> Tensor:
        try:
            with torch.no_grad():
                made = self._raw(torch.full((1, *task.shape), float(task.low)))
        except (RuntimeError, TypeError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise ConfigError(
                f"encoder.target: forward(x) of x {(1, *task.shape)} fails: {first}"
            ) from None
        return made

    def _standard(self, inputs: Tensor) -> Tensor:
        return inputs

    def _raw(self, inputs: Tensor) -> Tensor:
        made: Tensor = self.network(inputs)
        return made.flatten(1).float()


def _load(config: ModuleEncoder) -> nn.Module:
    module, _, name = config.target.rpartition(".")
    try:
        make = getattr(importlib.import_module(module), name)
        made = make(**config.arguments)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"encoder.target={config.target}: cannot be made ({error}); "
            "give package.Class, importable from here"
        ) from None
    if not isinstance(made, nn.Module):
        raise ConfigError(f"encoder.target={config.target}: must give a torch module")
    return made


def _fit_inputs(rng: np.random.Generator, count: int, task: Task) -> np.ndarray:
    """Return seeded inputs in the task's range: 1/f noise, or standard vectors."""
    if task.layout == "vector":
        location = np.asarray(task.location or 0.0, np.float32)
        scale = np.asarray(task.scale or 1.0, np.float32)
        noise = rng.standard_normal((count, *task.shape)).astype(np.float32)
        return noise * scale + location
    unit = one_over_f(rng, count, task.shape)
    return (task.low + unit * (task.high - task.low)).astype(np.float32)
