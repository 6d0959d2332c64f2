"""Encoders whose network is pre-trained elsewhere: images, text, or any model in ONNX.

A network gives p numbers; features are these on fixed directions, which no node's data have a part
in.  Source: linear heads on pre-trained features (Kornblith 2019); the signed root of features is
the power normalisation of Perronnin 2010.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qsynth.encoder.base import BATCH, Encoder
from qsynth.encoder.module import fit_inputs
from qsynth.encoder.pretrained import Pretrained
from qsynth.encoder.projection import signs
from qsynth.errors import ConfigError
from qsynth.types import Floats, Floats32, Task, config_digest

FITTED = 512  # seeded inputs that fix directions and units
PROBES = 8  # seeded inputs that name the map, and its unit


@dataclass(frozen=True)
class Backbone:
    """Hold a network of (n, *shape) to (n, p), the units of its inputs, and what it is named by."""

    network: nn.Module
    digest: str  # of all that the map depends on: weights, and the settings that stand beside them
    centre: tuple[float, ...] = (0.0,)
    spread: tuple[float, ...] = (1.0,)
    channels: int | None = 3  # of images: a grey one is given so often; None: as it is


class BackboneEncoder(Encoder):
    """Encode by a pre-trained network.  Its features are kept on disk: they take long to make."""

    def __init__(self, config: Pretrained, task: Task) -> None:
        super().__init__(config, task)
        self.side, self.rooted, self.layout = config.side, config.root, task.layout
        backbone = self._loaded(config)
        self.channels = backbone.channels
        self.network = backbone.network.eval().requires_grad_(False)
        self.register_buffer("centre", self._by_channel(backbone.centre))
        self.register_buffer("spread", self._by_channel(backbone.spread))
        if task.layout == "vector":
            place = np.asarray(task.location or 0.0, np.float32)
            width = np.asarray(task.scale or 1.0, np.float32)
            self.register_buffer("location", torch.from_numpy(place))
            self.register_buffer("scale", torch.from_numpy(width))
        reference, named = _reference(config, task)
        units = [list(backbone.centre), list(backbone.spread)]
        self.digest = config_digest([self.digest.hex(), backbone.digest, units, named])
        rng = np.random.default_rng([config.seed, 23])
        probes = self._probed(config, fit_inputs(rng, PROBES, task))
        p = probes.shape[1]
        mean, directions = np.zeros(p), np.eye(p)
        if p > config.dimensions:
            if config.projection == "random":
                directions = _drawn(config.seed, p, config.dimensions)
            else:
                fitted = fit_inputs(rng, FITTED, task) if reference is None else reference
                mean, directions = _strongest(self._many(fitted), config.dimensions)
        unit = config.unit or _spread((probes - mean) @ directions)
        self.register_buffer("mean", torch.from_numpy(mean.astype(np.float32)))
        self.register_buffer("projection", torch.from_numpy((directions / unit).astype(np.float32)))
        self.requires_grad_(False)
        # What the map gives is part of its name on this disk: a library may have changed.
        told = [self.digest.hex(), np.round(probes, 2).tolist()]
        self.kept_as = config_digest(told).hex()

    def encode(self, inputs: Floats32 | Tensor, dimensions: int | None = None) -> Floats32:
        """Return features as every encoder does; those of an input are the same bits in any batch.

        So what is kept on disk is what would be made anew.
        """
        mean: Tensor = self.mean  # type: ignore[assignment]
        projection: Tensor = self.projection  # type: ignore[assignment]
        made = [np.zeros((0, self.dimensions), np.float32)]
        with torch.no_grad():
            for rows in torch.as_tensor(inputs).split(BATCH) if len(inputs) else ():
                raw = self._raw(self._standard(_filled(rows))) - mean
                made.append((raw @ projection)[: len(rows)].numpy())
        return np.ascontiguousarray(np.concatenate(made)[:, :dimensions])

    def _load(self, config: Any) -> Backbone:
        raise NotImplementedError

    def _loaded(self, config: Pretrained) -> Backbone:
        """Return the backbone.  Raises ConfigError where a library cannot make it of its files."""
        try:
            return self._load(config)
        except ConfigError:
            raise
        except Exception as error:  # each library has errors of its own
            name = f"encoder.name={config.told()['name']}"
            raise ConfigError(f"{name}: cannot be loaded ({first_line(error)})") from None

    def _probed(self, config: Pretrained, inputs: Floats32) -> Floats:
        """Return the (n, p) numbers of seeded inputs.  Raises ConfigError where there are none."""
        what = f"encoder.name={config.told()['name']}"
        try:
            made, again = self._many(inputs), self._many(inputs[::-1].copy())
            first = self._many(inputs[:1])
        except Exception as error:  # a model of anybody's
            raise ConfigError(
                f"{what}: the model does not take inputs of shape {self.shape}: {first_line(error)}"
            ) from None
        if not np.isfinite(made).all():
            raise ConfigError(f"{what}: the model gives numbers that are not finite")
        if len(made) != len(inputs) or not (_near(first, made[:1]) and _near(again[::-1], made)):
            raise ConfigError(
                f"{what}: the model gives an input other numbers beside others: it must be a fixed "
                "map of each, with one row an input"
            )
        return made

    def _many(self, inputs: Floats32) -> Floats:
        with torch.no_grad():
            parts = torch.from_numpy(np.ascontiguousarray(inputs)).split(BATCH)
            made: Floats = torch.cat([self._raw(self._standard(p)) for p in parts]).double().numpy()
        return made

    def _by_channel(self, values: tuple[float, ...]) -> Tensor:
        rest = [1] * (len(self.shape) - 1)
        return torch.tensor(values, dtype=torch.float32).reshape(1, len(values), *rest)

    def _standard(self, inputs: Tensor) -> Tensor:
        if self.layout == "tokens":
            return inputs
        if self.layout == "vector":
            location: Tensor = self.location  # type: ignore[assignment]
            scale: Tensor = self.scale  # type: ignore[assignment]
            return (inputs - location) / scale
        return super()._standard(inputs)

    def _raw(self, inputs: Tensor) -> Tensor:
        if self.layout != "tokens":
            inputs = self._prepared(inputs)
        made: Tensor = self.network(inputs)
        made = made.flatten(1).float()
        return made.sign() * made.abs().sqrt() if self.rooted else made.clone()

    def _prepared(self, inputs: Tensor) -> Tensor:
        if self.layout == "image":
            if inputs.shape[1] == 1 and self.channels is not None:
                inputs = inputs.expand(-1, self.channels, -1, -1)
            if self.side and tuple(inputs.shape[2:]) != (self.side, self.side):
                inputs = F.interpolate(
                    inputs, (self.side, self.side), mode="bicubic", antialias=True
                ).clamp(0.0, 1.0)
        centre: Tensor = self.centre  # type: ignore[assignment]
        spread: Tensor = self.spread  # type: ignore[assignment]
        return (inputs - centre) / spread


def library_of(name: str, config: Pretrained, package: str) -> Any:
    """Return a library that not every installation has.  Raises ConfigError."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"encoder.name={config.told()['name']}: needs pip install '{package}' ({error})"
        ) from None


def _reference(config: Pretrained, task: Task) -> tuple[Floats32 | None, str]:
    """Return the public inputs that directions are fitted on, and their hash."""
    if config.projection != "reference":
        return None, ""
    key = f"encoder.reference={config.reference}"
    assert config.reference is not None  # `Pretrained.check`
    try:
        given = np.load(Path(config.reference).expanduser(), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"{key}: must be a .npy of inputs ({first_line(error)})") from None
    if not isinstance(given, np.ndarray) or given.shape[1:] != task.shape or len(given) < 2:
        shape = getattr(given, "shape", "none")
        raise ConfigError(f"{key}: must hold inputs of shape (n, {task.shape}), has {shape}")
    inputs = np.ascontiguousarray(given, np.float32)
    if not np.isfinite(inputs).all():
        raise ConfigError(f"{key}: holds numbers that are not finite")
    return inputs, hashlib.sha256(inputs.tobytes()).hexdigest()


def _near(one: Floats, other: Floats) -> bool:
    """Return whether two sets of features are the same but for rounding."""
    if one.shape != other.shape:
        return False
    spread = float(np.abs(other).max(initial=0.0))
    return bool(np.abs(one - other).max(initial=0.0) <= 1e-3 * max(spread, 1e-12))


def _filled(rows: Tensor) -> Tensor:
    """Return a whole batch: the rows, and the last of them as often as there is room."""
    missing = BATCH - len(rows)
    return rows if missing == 0 else torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


def _spread(rows: Floats) -> float:
    """Return the root mean square to two digits: machines whose last bits differ must agree."""
    spread = float(np.sqrt(np.square(rows).mean()))
    return float(f"{spread:.1e}") if spread > 0.0 else 1.0


def _drawn(seed: int, width: int, count: int) -> Floats:
    """Return (width, count) orthonormal directions from a seed."""
    drawn = np.random.default_rng(seed).standard_normal((width, count))
    basis: Floats = np.linalg.qr(drawn)[0]
    return basis


def _strongest(rows: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the mean (p,) of (n, p) rows and their strongest directions (p, d), not whitened."""
    mean = rows.mean(axis=0)
    vectors = np.linalg.eigh((rows - mean).T @ (rows - mean))[1][:, ::-1]
    vectors = vectors[:, : min(count, len(rows) - 1)]
    return mean, vectors * signs(vectors)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind."""
    lines: Iterable[str] = str(error).splitlines()
    return next(iter(lines), type(error).__name__)
