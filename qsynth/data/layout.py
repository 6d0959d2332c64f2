"""What a data option's samples look like, without reading them: for plans, before any training."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.data.config import Arrays, Cifar10, Digits, Fmnist
from qsynth.errors import DataError

DIGITS, FMNIST, CIFAR10 = 1797, 60_000, 50_000  # samples that training has at most
LAYOUTS = {1: "vector", 2: "series", 3: "image"}
ARRAY_SUFFIX = ".npy"


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


def layout_of(config: Any) -> Layout | None:
    """Return the layout of a `data` config; None of a user's own module.  Raises DataError."""
    classes = 2 if getattr(config, "positives", ()) else 10
    if isinstance(config, Digits):
        return Layout("image", (1, 8, 8), classes, round(DIGITS * (1.0 - config.test_share)))
    if isinstance(config, Fmnist):
        return Layout("image", (1, config.side, config.side), classes, FMNIST)
    if isinstance(config, Cifar10):
        return Layout("image", (3, config.side, config.side), classes, CIFAR10)
    return _of_arrays(config) if isinstance(config, Arrays) else None


def _of_arrays(config: Arrays) -> Layout:
    path = Path(config.path).expanduser()
    if not config.path or not path.is_file():
        asked = "no such .npz file" if config.path else "needs an .npz file: data.path=mine.npz"
        raise DataError(f"data.path={config.path or 'null'}: {asked}")
    try:
        with zipfile.ZipFile(path) as stored:
            shapes = {n.removesuffix(ARRAY_SUFFIX): _shape(stored, n) for n in stored.namelist()}
        with np.load(path, allow_pickle=False) as arrays:
            targets = arrays["y"]
            sites = len(np.unique(arrays["node"])) if "node" in shapes else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    shape = shapes.get("x", ())
    if len(shape) - 1 not in LAYOUTS:
        raise DataError(f"{path}: x must have 2, 3 or 4 axes, got {len(shape)}")
    outputs = targets.shape[1] if targets.ndim == 2 else 1
    if config.kind == "classes":
        outputs = len(config.labels) or int(targets.max(initial=0)) + 1
    share = 1.0 if "x_test" in shapes else 1.0 - config.test_share
    layout = "tokens" if config.tokens else LAYOUTS[len(shape) - 1]
    return Layout(layout, shape[1:], outputs, round(shape[0] * share), config.kind, sites)


def _shape(stored: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """Return an array's shape from its header alone."""
    with stored.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, _, _ = read(file)
    return tuple(int(n) for n in shape)
