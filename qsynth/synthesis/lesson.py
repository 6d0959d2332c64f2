"""Lessons: inputs that the synthesized head labels, for the node's own network to learn from.

Knowledge distillation (Hinton 2015), with the merged head as the teacher.  Which inputs it
labels matters most: see docs/explanation/learning.md.  Without torch: the trainer makes tensors of
a lesson (`pipeline/teach.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from qsynth.packet import Statistics
from qsynth.schema import option, setting
from qsynth.synthesis.head import Head, log_softmax
from qsynth.types import LABELS, Floats, Floats32, Task

if TYPE_CHECKING:
    from qsynth.encoder import Encoder

AS_IS, MIXUP = 0.25, 0.375  # shares of own_mix; the rest is cutmix (or mixup for vectors)
JITTER = 0.15  # of contrast and brightness, as a share of the input range


@option("synthesis.teach")
@dataclass(frozen=True)
class LessonOptions:
    """How a network is taught, whoever the teacher is."""

    weight: float = setting(3.0, "of the teaching loss beside the network's own", low=0.0)
    batch_size: int = setting(64, "teaching inputs a step", low=1)
    pool_size: int = setting(512, "teaching inputs made anew each period", low=1)
    every_steps: int = setting(1, "optimizer steps between two teaching steps", low=1)

    def kind(self) -> str:
        """Return which inputs are taught on: own_mix, unlabelled, generated or none."""
        return "none"


@option("synthesis.teach")
@dataclass(frozen=True)
class MixedLessonOptions(LessonOptions):
    """How a network is taught on inputs made of the node's own."""

    inputs: str = setting(
        "own_mix", "which inputs the head labels", choices=("own_mix", "unlabelled", "none")
    )

    def kind(self) -> str:
        """Return which inputs are taught on: own_mix, unlabelled, generated or none."""
        return self.inputs


@dataclass(frozen=True)
class _Lesson:
    """What a network learns from for one period, and how."""

    config: LessonOptions

    @property
    def weight(self) -> float:
        """Return the weight of the teaching loss."""
        return self.config.weight

    @property
    def batch_size(self) -> int:
        """Return the inputs of a lesson."""
        return self.config.batch_size

    @property
    def every_steps(self) -> int:
        """Return the optimizer steps between two lessons."""
        return self.config.every_steps


@dataclass(frozen=True)
class SoftTargets(_Lesson):
    """Hold inputs (m, *shape) with soft targets (m, C), for one period.

    offset: gives what is added to the logits of training inputs before the loss; where there are
    no inputs, it is all that a lesson is.
    """

    inputs: Floats32
    targets: Floats32
    offset: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        """Return m."""
        return len(self.inputs)


@dataclass(frozen=True)
class Pool(_Lesson):
    """Hold what a teaching is made of once its node trains: until then it needs little room.

    own: (n, *shape) of the node's training inputs.  rng: as it is before the first draw.
    log_prior: (C,) added to the head's scores; None where these are the targets themselves.
    inputs: merged statistics of inputs, for `generated`.  The rest is that of `Teaching`.
    """

    config: MixedLessonOptions
    head: Head
    encoder: Encoder
    task: Task
    own: Floats32
    rng: np.random.Generator
    log_prior: Floats | None = None
    inputs: Statistics | None = None
    offset: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        """Return m."""
        return self.config.pool_size

    def drawn(self) -> Floats32:
        """Return (m, *shape) inputs, the same at each call."""
        rng, count = deepcopy(self.rng), self.config.pool_size
        if self.inputs is not None and self.log_prior is not None:
            return generated(self.inputs, self.log_prior, count, self.task, rng)
        return own_mix(self.own, count, self.task, rng)

    def targets(self, features: Floats32) -> tuple[Floats32, Floats32]:
        """Return (m, C) soft targets of inputs with (m, D) features, and the scores behind them."""
        logs = self.head.scores(features)
        if self.log_prior is not None:
            logs = logs + self.log_prior
            made = np.exp(log_softmax(logs))
        else:
            made = np.clip(logs, 0.0, 1.0) if self.task.kind == LABELS else logs
        return made.astype(np.float32), logs.astype(np.float32)


def offset_alone(offset: Callable[[Any], Any]) -> SoftTargets:
    """Return a lesson without inputs: an offset of the logits and nothing else."""
    nothing = np.zeros(0, np.float32)
    return SoftTargets(LessonOptions(weight=0.0, batch_size=1), nothing, nothing, offset)


def make_pool(
    config: MixedLessonOptions,
    head: Head,
    log_prior: Floats | None,
    encoder: Encoder,
    task: Task,
    own: Floats32,
    inputs: Statistics | None,
    rng: np.random.Generator,
    offset: Callable[[Any], Any] | None = None,
) -> Pool | None:
    """Return inputs for the head to label, or None where nothing is taught.

    own: (n, *shape) of the node's training inputs.  inputs: merged statistics of inputs, for
    `generated`.  log_prior: (C,) of the label shares that targets follow, as the network does; None
    for a map to labels or values, whose scores are the targets.
    offset: of the network's logits, which the head's scores then are as well.
    """
    if config.inputs == "none" or config.weight == 0.0:
        return None
    kept = inputs if config.inputs == "generated" else None
    return Pool(config, head, encoder, task, own, rng, log_prior, kept, offset)


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
