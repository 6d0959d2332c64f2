"""What a data option's samples look like: for plans, before any training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qsynth.data.config import Arrays, Cifar10, Declared, Digits, Fmnist, FromData
from qsynth.data.dataset import DataOption, DataSet
from qsynth.data.load import load_data

DIGITS, FMNIST, CIFAR10 = 1797, 60_000, 50_000  # samples that training has at most


@dataclass(frozen=True)
class Layout:
    """Say what one input is, how many outputs it has, and how many training samples there are.

    kind: classes, labels or values.  sites: of a file with a `node` array, else None.
    """

    layout: str
    shape: tuple[int, ...]
    outputs: int
    train: int
    kind: str = "classes"
    sites: int | None = None


def layout_of(config: Any, task: FromData | Declared) -> Layout | None:
    """Return the layout of a `data` config; None of a user's own module.

    Bundled data are known without reading them; a file is read, so that a plan refuses what a run
    refuses.  Raises ConfigError or DataError.
    """
    classes = 2 if getattr(config, "positives", ()) else 10
    if isinstance(config, Digits):
        return Layout("image", (1, 8, 8), classes, round(DIGITS * (1.0 - config.test_share)))
    if isinstance(config, Fmnist):
        return Layout("image", (1, config.side, config.side), classes, FMNIST)
    if isinstance(config, Cifar10):
        return Layout("image", (3, config.side, config.side), classes, CIFAR10)
    if not isinstance(config, (Arrays, DataOption)):
        return None
    return layout_of_data(load_data(config, task))


def layout_of_data(data: DataSet) -> Layout:
    """Return the layout of data that have been read."""
    made, nodes = data.task, data.train_node
    sites = None if nodes is None else len(np.unique(nodes))
    return Layout(made.layout, made.shape, made.classes, len(data.train_y), made.kind, sites)
