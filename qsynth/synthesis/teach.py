"""Teaching: inputs that the synthesized head labels, for the node's own network to learn from.

Knowledge distillation (Hinton 2015), with the merged head as the teacher.  Which inputs it
labels matters most: see docs/explanation/learning.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from qsynth.encoder import Encoder
from qsynth.errors import ConfigError
from qsynth.packet import Statistics
from qsynth.synthesis.config import TargetLessonOptions, Teach
from qsynth.synthesis.head import Head, log_softmax
from qsynth.types import CLASSES, LABELS, Floats, Floats32, Task

AS_IS, MIXUP = 0.25, 0.375  # shares of own_mix; the rest is cutmix (or mixup for vectors)
JITTER = 0.15  # of contrast and brightness, as a share of the input range


@dataclass(frozen=True)
class Teaching:
    """Hold a pool of inputs (m, *shape) with soft targets (m, C), for one period.

    offset: gives what is added to the logits of training inputs before the loss.  offsets: (m, C),
    the same for the pool.  kind: of the task, which says what the loss is.
    """

    inputs: Tensor
    targets: Tensor
    weight: float
    batch_size: int
    every_steps: int
    offsets: Tensor | None = None
    offset: Callable[[Tensor], Tensor] | None = None
    kind: str = CLASSES

    def __len__(self) -> int:
        """Return m."""
        return len(self.inputs)


@dataclass(frozen=True)
class Pool:
    """Hold what a teaching is made of once its node trains: until then it needs little room.

    own: (n, *shape) of the node's training inputs.  rng: as it is before the first draw.
    log_prior: (C,) added to the head's scores; None where these are the targets themselves.
    inputs: merged statistics of inputs, for `generated`.  The rest is that of `Teaching`.
    """

    config: Teach | TargetLessonOptions
    head: Head
    encoder: Encoder
    task: Task
    own: Floats32
    rng: np.random.Generator
    weight: float
    log_prior: Floats | None = None
    inputs: Statistics | None = None
    offset: Callable[[Tensor], Tensor] | None = None

    def __len__(self) -> int:
        """Return m."""
        return self.config.pool_size

    @property
    def batch_size(self) -> int:
        """Return the inputs of a lesson."""
        return self.config.batch_size

    @property
    def every_steps(self) -> int:
        """Return the optimizer steps between two lessons."""
        return self.config.every_steps

    def drawn(self) -> Floats32:
        """Return (m, *shape) inputs, the same at each call."""
        rng, count = deepcopy(self.rng), self.config.pool_size
        if self.inputs is not None and self.log_prior is not None:
            return generated(self.inputs, self.log_prior, count, self.task, rng)
        return own_mix(self.own, count, self.task, rng)

    def labelled(self, inputs: Floats32, features: Floats32) -> Teaching:
        """Return the teaching of (m, *shape) inputs with (m, D) features."""
        logs = self.head.scores(features)
        if self.log_prior is not None:
            logs = logs + self.log_prior
            targets = np.exp(log_softmax(logs))
        else:
            targets = np.clip(logs, 0.0, 1.0) if self.task.kind == LABELS else logs
        offsets = None
        if self.offset is not None:
            offsets = torch.from_numpy(logs.astype(np.float32))
        return Teaching(
            torch.from_numpy(inputs),
            torch.from_numpy(targets.astype(np.float32)),
            self.weight,
            self.batch_size,
            self.every_steps,
            offsets,
            self.offset,
            self.task.kind,
        )


Lesson = Teaching | Pool


def build_teachings(lessons: Sequence[Lesson | None]) -> list[Teaching | None]:
    """Return the teachings of lessons; what nodes share an encoder for is encoded at once."""
    ready = [None if isinstance(lesson, Pool) else lesson for lesson in lessons]
    pools = [(at, lesson) for at, lesson in enumerate(lessons) if isinstance(lesson, Pool)]
    if not pools:
        return ready
    encoder = pools[0][1].encoder
    assert all(pool.encoder is encoder for _, pool in pools)
    drawn = [pool.drawn() for _, pool in pools]
    most = max(pool.head.dimensions for _, pool in pools)
    features = encoder.encode(np.concatenate(drawn), most)
    ends = np.cumsum([len(inputs) for inputs in drawn])[:-1]
    for (at, pool), inputs, part in zip(pools, drawn, np.split(features, ends), strict=True):
        ready[at] = pool.labelled(inputs, part)
    return ready


def offset_alone(offset: Callable[[Tensor], Tensor]) -> Teaching:
    """Return a teaching without inputs: an offset of the logits and nothing else."""
    return Teaching(torch.empty(0), torch.empty(0), 0.0, 1, 1, None, offset)


def make_pool(
    config: Teach,
    head: Head,
    log_prior: Floats,
    encoder: Encoder,
    task: Task,
    own: Floats32,
    inputs: Statistics | None,
    rng: np.random.Generator,
    offset: Callable[[Tensor], Tensor] | None = None,
) -> Pool | None:
    """Return inputs for the head to label, or None where nothing is taught.

    own: (n, *shape) of the node's training inputs.  inputs: merged statistics of inputs, for
    `generated`.  The targets follow the node's own label shares, as its network does.
    offset: of the network's logits, which the head's scores then are as well.
    """
    if config.inputs == "none" or config.weight == 0.0:
        return None
    kept = inputs if config.inputs == "generated" else None
    return Pool(config, head, encoder, task, own, rng, config.weight, log_prior, kept, offset)


def target_pool(
    config: TargetLessonOptions,
    head: Head,
    encoder: Encoder,
    task: Task,
    own: Floats32,
    rng: np.random.Generator,
) -> Pool | None:
    """Return inputs for a map to give targets, or None where nothing is taught.

    own: (n, *shape) of the node's training inputs.
    """
    if config.inputs == "none" or config.weight == 0.0:
        return None
    return Pool(config, head, encoder, task, own, rng, config.weight)


def own_mix(own: Floats32, count: int, task: Task, rng: np.random.Generator) -> Floats32:
    """Return (count, *shape): own inputs, augmented; a part as they are, mixed or cut together.

    Source: mixup (Zhang 2018), CutMix (Yun 2019).
    """
    if task.layout == "tokens":
        return spliced(own, count, rng)
    first = augmented(own[rng.integers(len(own), size=count)], task, rng)
    second = augmented(own[rng.integers(len(own), size=count)], task, rng)
    kind = rng.random(count)
    images = task.layout == "image"
    shape = (-1, *[1] * len(task.shape))
    share = rng.beta(1.0, 1.0, count).astype(np.float32).reshape(shape)
    mixed = share * first + (1.0 - share) * second
    as_is, mixup = kind < AS_IS, kind < AS_IS + MIXUP
    out = np.where(as_is.reshape(shape), first, mixed)
    if images:
        cut = np.where(_boxes(rng, count, task.shape), second, first)
        out = np.where(mixup.reshape(shape), out, cut)
    made: Floats32 = np.ascontiguousarray(out, dtype=np.float32)
    return made


def spliced(own: Floats32, count: int, rng: np.random.Generator) -> Floats32:
    """Return (count, length) token sequences: own ones, a part as they are, the others spliced.

    The beginning of one and the end of another: CutMix (Yun 2019) of text.
    """
    first = own[rng.integers(len(own), size=count)]
    second = own[rng.integers(len(own), size=count)]
    length = own.shape[1]
    cut = np.where(rng.random(count) < AS_IS, length, rng.integers(1, length + 1, size=count))
    made: Floats32 = np.where(np.arange(length) < cut[:, None], first, second)
    return made


def check_teaching(config: Any, task: Task) -> None:
    """Raise ConfigError where inputs of this layout cannot be made."""
    inputs = getattr(config.teach, "inputs", "own_mix")
    if inputs == "generated" and task.layout == "tokens":
        raise ConfigError(
            "synthesis.teach.inputs=generated: makes numbers, the task has layout tokens; "
            "use own_mix or unlabelled"
        )


def generated(
    inputs: Statistics, log_prior: Floats, count: int, task: Task, rng: np.random.Generator
) -> Floats32:
    """Return (count, *shape) samples of merged class Gaussians, within the range of inputs.

    What others say of their inputs makes none that the network could not have met.
    """
    seen = inputs.counts > 0
    shares = np.where(seen, np.sqrt(np.exp(log_prior)) + 0.05, 0.0)
    labels = rng.choice(len(shares), size=count, p=shares / shares.sum())
    covariance = inputs.scatter / max(float(inputs.counts.sum() - seen.sum()), 1.0)
    values, vectors = np.linalg.eigh(covariance)
    roots = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = rng.standard_normal((count, len(values))) @ roots.T
    flat = np.clip(inputs.means()[labels] + noise, task.low, task.high)
    made: Floats32 = flat.reshape(count, *task.shape).astype(np.float32)
    return made


def augmented(inputs: Floats32, task: Task, rng: np.random.Generator) -> Floats32:
    """Return inputs shifted by up to an eighth of a side, with contrast and brightness changed."""
    if task.layout in ("vector", "tokens"):
        return inputs
    span = task.high - task.low
    shape = (-1, *[1] * (inputs.ndim - 1))
    contrast = rng.uniform(1.0 - JITTER, 1.0 + JITTER, len(inputs)).reshape(shape)
    brightness = rng.uniform(-JITTER, JITTER, len(inputs)).reshape(shape) * span
    mean = inputs.mean(axis=tuple(range(1, inputs.ndim)), keepdims=True)
    out = np.clip((inputs - mean) * contrast + mean + brightness, task.low, task.high)
    for axis in range(2, inputs.ndim):
        out = _shifted(out, axis, rng)
    made: Floats32 = out.astype(np.float32)
    return made


def _shifted(inputs: Floats, axis: int, rng: np.random.Generator) -> Floats:
    side = inputs.shape[axis]
    by = rng.integers(-(side // 8), side // 8 + 1, size=len(inputs))
    index = np.clip(np.arange(side)[None, :] - by[:, None], 0, side - 1)  # repeat the border
    shape = [len(inputs)] + [1] * (inputs.ndim - 1)
    shape[axis] = side
    return np.take_along_axis(inputs, index.reshape(shape), axis=axis)


def _boxes(rng: np.random.Generator, count: int, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return (count, 1, height, width) bool: one random box each, of uniform area share."""
    height, width = shape[1:]
    side = np.sqrt(rng.random(count))
    masks = []
    for size in (height, width):
        centre = rng.random(count) * size
        low, high = centre - side * size / 2, centre + side * size / 2
        grid = np.arange(size)[None, :] + 0.5
        masks.append((grid >= low[:, None]) & (grid < high[:, None]))
    box: npt.NDArray[np.bool_] = masks[0][:, None, :, None] & masks[1][:, None, None, :]
    return box
