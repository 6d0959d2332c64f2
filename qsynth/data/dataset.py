"""A data set in memory, and its split into training and test."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.types import Flags, Floats32, Ints, Task


@dataclass(frozen=True)
class DataSet:
    """Hold training and test samples of a task.

    train_x, test_x: (n, *task.shape) float32.  train_y, test_y: (n,) class indices, or (n, K)
    float32: 0 and 1 for K labels, or K values in units of the task's target scale.
    train_node, test_node: (n,) whose sample it is, where the data say so.
    further_x, further_node: inputs without labels, and whose they are.
    origin: the digest, where inputs are made of another data set's as they are needed.
    notes: what was read, left out, and why.  test_rows: (n,) what row of its file each test
    sample is, or its file.  site_names: in the order of sites' numbers, where they have names.
    train_batch, test_batch: (n,) in which batch each came, where they came in several.
    """

    task: Task
    train_x: Floats32
    train_y: Any
    test_x: Floats32
    test_y: Any
    train_node: Ints | None = None
    test_node: Ints | None = None
    further_x: Floats32 | None = None
    further_node: Ints | None = None
    origin: bytes = b""
    notes: tuple[str, ...] = ()
    test_rows: Any = None
    site_names: tuple[str, ...] = ()
    train_batch: Ints | None = None
    test_batch: Ints | None = None

    def digest(self) -> bytes:
        """Return 16 bytes that stand for the task and every sample."""
        return self.origin or self._digest

    @cached_property
    def _digest(self) -> bytes:
        whole = hashlib.sha256(self.task.canonical())
        arrays: tuple[Any, ...] = (
            self.train_x,
            self.train_y,
            self.test_x,
            self.test_y,
            self.train_node,
            self.test_node,
            self.further_x,
            self.further_node,
        )
        for array in arrays:
            if array is not None:
                whole.update(np.ascontiguousarray(array).view(np.uint8).data)
        return whole.digest()[:16]


def split_test(
    labels: Ints, nodes: Ints | None, share: float, ends: Sequence[int] = ()
) -> tuple[Flags, Flags]:
    """Return masks of training and test samples: the same share of every class and node.

    A pure function of the labels: the seed is fixed, so that no run sees another run's test.
    ends: number of samples after each batch; each is split by itself, whatever comes later.
    """
    groups = labels
    if nodes is not None:
        place = np.unique(nodes, return_inverse=True)[1]  # sites may be any numbers
        groups = place * (int(labels.max(initial=0)) + 1) + labels
    parts, first = [], 0
    for batch, end in enumerate(ends or (len(labels),)):
        parts.append(_tested(groups[first:end], share, batch))
        first = end
    test = np.concatenate(parts)
    return ~test, test


def _tested(groups: Ints, share: float, batch: int) -> Flags:
    """Return which samples of a batch are for the test: the same share of every group."""
    rng = np.random.default_rng([0, batch] if batch else 0)
    test = np.zeros(len(groups), bool)
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        wanted = share * len(members)
        # Of a small batch a class has a sample or two: over many batches the share is right.
        count = int(wanted + rng.random()) if batch else round(wanted)
        test[members[:count]] = True
    return test


def averaged(images: npt.NDArray[np.uint8], side: int) -> Floats32:
    """Return (n, c, side, side) float32 in [0, 1]: means over square blocks of pixels."""
    count, channels, height, _ = images.shape
    step = height // side
    blocks = images.reshape(count, channels, side, step, side, step)
    means: Floats32 = blocks.mean(axis=(3, 5), dtype=np.float32) / np.float32(255.0)
    return means
