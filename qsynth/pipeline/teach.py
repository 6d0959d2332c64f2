"""A lesson as tensors: what the node's own network learns from for one period."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qsynth.synthesis.lesson import Pool, SoftTargets
from qsynth.types import CLASSES, Floats32


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


Lesson = Teaching | SoftTargets | Pool


def build_teachings(lessons: Sequence[Lesson | None]) -> list[Teaching | None]:
    """Return the teachings of lessons; what nodes share an encoder for is encoded at once."""
    ready = [None if isinstance(lesson, Pool) else _teaching(lesson) for lesson in lessons]
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
        ready[at] = _labelled(pool, inputs, part)
    return ready


def _teaching(lesson: Teaching | SoftTargets | None) -> Teaching | None:
    if not isinstance(lesson, SoftTargets):
        return lesson
    return Teaching(
        torch.from_numpy(lesson.inputs),
        torch.from_numpy(lesson.targets),
        lesson.config.weight,
        lesson.config.batch_size,
        lesson.config.every_steps,
        offset=lesson.offset,
    )


def _labelled(pool: Pool, inputs: Floats32, features: Floats32) -> Teaching:
    """Return the teaching of a pool's (m, *shape) inputs with (m, D) features."""
    targets, logs = pool.targets(features)
    return Teaching(
        torch.from_numpy(inputs),
        torch.from_numpy(targets),
        pool.weight,
        pool.batch_size,
        pool.every_steps,
        None if pool.offset is None else torch.from_numpy(logs),
        pool.offset,
        pool.task.kind,
    )
