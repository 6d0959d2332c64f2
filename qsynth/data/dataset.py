"""A data set in memory, and the checks that every source passes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.errors import DataError
from qsynth.types import LABELS, Floats32, Ints, Task


@dataclass(frozen=True)
class DataSet:
    """Hold training and test samples of a task.

    train_x, test_x: (n, *task.shape) float32.  train_y, test_y: (n,) class indices, or (n, K)
    float32: 0 and 1 for K labels, or K values in units of the task's target scale.
    train_node, test_node: (n,) whose sample it is, where the data say so.
    further_x, further_node: inputs without labels, and whose they are.
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

    def digest(self) -> bytes:
        """Return 16 bytes that stand for the task and every sample."""
        whole = hashlib.sha256(self.task.canonical())
        arrays = (self.train_x, self.train_y, self.test_x, self.test_y, self.train_node,
                  self.test_node, self.further_x, self.further_node)  # fmt: skip
        for array in arrays:
            if array is not None:
                whole.update(np.ascontiguousarray(array).view(np.uint8).data)
        return whole.digest()[:16]


def class_indices(labels: npt.NDArray[Any], source: str) -> Ints:
    """Return (n,) int64 class indices.  Raises DataError unless there is one label a sample."""
    if labels.ndim != 1:
        raise DataError(
            f"{source}: y must hold one class index a sample, got shape {labels.shape}; "
            "only single-label classification is supported"
        )
    if labels.dtype.kind not in "iub" and not (
        labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels))
    ):
        raise DataError(f"{source}: y must hold whole numbers, got {labels.dtype}")
    indices = labels.astype(np.int64)
    if len(indices) and indices.min() < 0:
        raise DataError(f"{source}: y must hold class indices from 0, got {indices.min()}")
    return indices


def targets(values: npt.NDArray[Any], kind: str, source: str) -> Floats32:
    """Return (n, K) targets.  Raises DataError unless they are finite, or 0 and 1 for labels."""
    if values.ndim not in (1, 2) or values.dtype.kind not in "iufb" or not values[:1].size:
        raise DataError(f"{source}: y must hold numbers (n, K) for data.kind={kind}")
    made = values.reshape(len(values), -1).astype(np.float32)
    if not np.isfinite(made).all():
        raise DataError(f"{source}: y holds values that are not finite")
    if kind == LABELS and not np.isin(made, (0.0, 1.0)).all():
        raise DataError(f"{source}: y must hold 0 and 1 for data.kind=labels")
    return made


def check_inputs(inputs: Floats32, source: str) -> None:
    """Raise DataError where an input is not a finite number."""
    if not np.isfinite(inputs).all():
        raise DataError(f"{source}: x holds values that are not finite")


def label_names(given: tuple[str, ...], labels: Any, source: str) -> tuple[str, ...]:
    """Return the label names, or 0, 1, ... where none are given.

    labels: (n,) class indices, or (n, K) targets, which need one name each.
    """
    if labels.ndim == 2:
        if given and len(given) != labels.shape[1]:
            raise DataError(f"{source}: y has {labels.shape[1]} columns, {len(given)} labels named")
        return given or tuple(str(k) for k in range(labels.shape[1]))
    needed = int(labels.max(initial=-1)) + 1
    if given and len(given) < needed:
        raise DataError(f"{source}: y holds class {needed - 1}, but only {len(given)} labels named")
    names = given or tuple(str(c) for c in range(needed))
    if len(names) < 2:
        raise DataError(f"{source}: at least two classes are needed, got {len(names)}")
    return names


def split_test(
    labels: Ints, nodes: Ints | None, share: float
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return masks of training and test samples: the same share of every class and node.

    A pure function of the labels: the seed is fixed, so that no run sees another run's test.
    """
    rng = np.random.default_rng(0)
    test = np.zeros(len(labels), bool)
    groups = labels if nodes is None else nodes * (int(labels.max(initial=0)) + 1) + labels
    for group in np.unique(groups):
        members = rng.permutation(np.flatnonzero(groups == group))
        test[members[: round(share * len(members))]] = True
    return ~test, test


def averaged(images: npt.NDArray[np.uint8], side: int) -> Floats32:
    """Return (n, c, side, side) float32 in [0, 1]: means over square blocks of pixels."""
    count, channels, height, _ = images.shape
    step = height // side
    blocks = images.reshape(count, channels, side, step, side, step)
    means: Floats32 = blocks.mean(axis=(3, 5), dtype=np.float32) / np.float32(255.0)
    return means
