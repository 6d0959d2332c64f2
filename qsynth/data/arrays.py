"""The data option `arrays`: the user's own .npz of images, series or vectors."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.data.config import Arrays
from qsynth.data.dataset import (
    DataSet,
    check_inputs,
    class_indices,
    label_names,
    split_test,
    targets,
)
from qsynth.errors import DataError
from qsynth.types import CLASSES, VALUES, Floats32, Ints, Task

UNREADABLE = (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)
LAYOUT_OF_AXES = {1: "vector", 2: "series", 3: "image"}


def load(config: Arrays) -> DataSet:
    """Return the samples of an .npz with x, y and, optionally, node, x_test, y_test, node_test.

    x: (n, features), (n, channels, length) or (n, channels, height, width).  y: (n,) class
    indices, or (n, K) labels or values, as `kind` says.  node: (n,) whole numbers, whose sample
    it is.
    """
    arrays = _read("path", config.path, {"x", "y"})
    data = from_arrays(arrays, config, str(Path(config.path).expanduser()))
    return data if config.unlabelled is None else _with_further(data, config.unlabelled)


def _read(key: str, name: str, needed: set[str]) -> dict[str, npt.NDArray[Any]]:
    path = Path(name).expanduser()
    if not name or not path.is_file():
        asked = "no such .npz file" if name else f"needs an .npz file: data.{key}=mine.npz"
        raise DataError(f"data.{key}={name or 'null'}: {asked}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {stored_name: stored[stored_name] for stored_name in stored.files}
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if needed - set(arrays):
        raise DataError(
            f"{path}: needs arrays {' and '.join(sorted(needed))}, "
            f"has {', '.join(sorted(arrays)) or 'none'}"
        )
    return arrays


def _with_further(data: DataSet, name: str) -> DataSet:
    """Return the data with further inputs, which nobody has labelled."""
    arrays = _read("unlabelled", name, {"x"})
    further = arrays["x"]
    if further.dtype.kind not in "iufb" or further.shape[1:] != data.task.shape:
        raise DataError(
            f"data.unlabelled={name}: x must hold numbers {data.task.shape} a sample, "
            f"got {further.dtype}{further.shape[1:]}"
        )
    inputs, nodes = further.astype(np.float32), _nodes(arrays, "node", name)
    check_inputs(inputs, name)
    if nodes is not None and len(nodes) != len(inputs):
        raise DataError(f"data.unlabelled={name}: x and node must have the same length")
    return replace(data, further_x=inputs, further_node=nodes)


def from_arrays(arrays: dict[str, npt.NDArray[Any]], config: Any, source: str) -> DataSet:
    """Return the data set of named arrays, with a test part split off where there is none."""
    if arrays["x"].dtype.kind not in "iufb" or not len(arrays["x"]):
        raise DataError(f"{source}: x must hold numbers of at least one sample")
    layout = LAYOUT_OF_AXES.get(arrays["x"].ndim - 1)
    if layout is None:
        raise DataError(f"{source}: x must have 2, 3 or 4 axes, got {arrays['x'].ndim}")
    if getattr(config, "tokens", False):
        if layout != "vector" or not np.array_equal(arrays["x"], np.rint(arrays["x"])):
            raise DataError(f"{source}: data.tokens needs x (n, length) of whole numbers")
        layout = "tokens"
    kind = getattr(config, "kind", CLASSES)
    told, nodes = partial(_told, kind=kind), _nodes(arrays, "node", source)
    labels = told(arrays["y"], source=source)
    names = label_names(tuple(config.labels), labels, source)
    task = _task(arrays["x"], layout, names, config, source)
    if kind == VALUES:
        # One place and spread for each, from all that the file has: never from a node.
        spread = labels.std(axis=0).astype(np.float64)
        task = replace(
            task, target_location=tuple(labels.mean(axis=0).astype(np.float64).tolist()),
            target_scale=tuple(np.where(spread > 0, spread, 1.0).tolist()),
        )  # fmt: skip
    task = replace(task, kind=kind)
    inputs = arrays["x"].astype(np.float32)
    check_inputs(inputs, source)
    _same_length(inputs, labels, nodes, source)
    if "x_test" in arrays and "y_test" in arrays:
        test_x, test_y = (
            arrays["x_test"].astype(np.float32),
            told(arrays["y_test"], source=source),
        )
        test_node = _nodes(arrays, "node_test", source)
        check_inputs(test_x, source)
        _same_length(test_x, test_y, test_node, source)
        fits = test_y.shape[1:] == labels.shape[1:]
        if kind == CLASSES:
            fits = int(test_y.max(initial=0)) < task.classes
        if test_x.shape[1:] != task.shape or not fits:
            raise DataError(f"{source}: x_test and y_test do not fit x and y")
        whole = DataSet(task, inputs, labels, test_x, test_y, nodes, test_node)
        return in_units(whole)
    strata = labels if kind == CLASSES else np.zeros(len(labels), np.int64)
    train, test = split_test(strata, nodes, config.test_share)
    train_node, test_node = (None, None) if nodes is None else (nodes[train], nodes[test])
    return in_units(
        DataSet(
            task, inputs[train], labels[train], inputs[test], labels[test], train_node, test_node
        )
    )


def in_units(data: DataSet) -> DataSet:
    """Return values less the task's target location, in units of its target scale."""
    if data.task.kind != VALUES:
        return data
    place, spread = units(data.task)
    return replace(
        data, train_y=(data.train_y - place) / spread, test_y=(data.test_y - place) / spread
    )


def units(task: Task) -> tuple[Floats32, Floats32]:
    """Return the location and the scale (K,) of a task's values."""
    place = np.array(task.target_location or (0.0,), np.float32)
    return place, np.array(task.target_scale or (1.0,), np.float32)


def _told(values: npt.NDArray[Any], kind: str, source: str) -> Any:
    return class_indices(values, source) if kind == CLASSES else targets(values, kind, source)


def _task(
    inputs: npt.NDArray[Any], layout: str, names: tuple[str, ...], config: Any, source: str
) -> Task:
    low, high = getattr(config, "low", None), getattr(config, "high", None)
    byte = inputs.dtype == np.uint8
    if low is None:
        low = 0.0 if byte or layout == "image" else float(inputs.min())
    if high is None:
        high = 255.0 if byte else float(inputs.max())
    if not low < high:
        raise DataError(f"{source}: the range of x must grow, got low {low} and high {high}")
    location: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    if layout == "vector":
        # One place and one spread for all features, from the declared range: never from a node.
        location, scale = ((low + high) / 2,), ((high - low) / 4,)
    return Task(
        name=Path(source).stem,
        version=1,
        labels=names,
        layout=layout,
        shape=tuple(int(n) for n in inputs.shape[1:]),
        units="",
        low=float(low),
        high=float(high),
        location=location,
        scale=scale,
    )


def _nodes(arrays: dict[str, npt.NDArray[Any]], name: str, source: str) -> Ints | None:
    if name not in arrays:
        return None
    return class_indices(arrays[name], f"{source} {name}")


def _same_length(inputs: Floats32, labels: Ints, nodes: Ints | None, source: str) -> None:
    if len(inputs) != len(labels) or (nodes is not None and len(nodes) != len(labels)):
        raise DataError(f"{source}: x, y and node must have the same length")
