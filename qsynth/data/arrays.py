"""The data option `arrays`: the user's own .npz of images, series or vectors."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qsynth.data.base import DataOptions
from qsynth.data.dataset import DataSet, split_test
from qsynth.data.memory import check_unpacked
from qsynth.data.samples import (
    check_apart,
    check_proportion,
    check_range,
    check_shape,
    check_targets,
    class_indices,
    inputs_of,
    label_names,
    site_indices,
    targets,
)
from qsynth.data.task import Declared
from qsynth.errors import DataError
from qsynth.schema import option, setting
from qsynth.types import CLASSES, LABELS, VALUES, Floats32, Ints, Task

UNREADABLE = (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)
LEAST_SPREAD = 1e-30  # of a value that is to be learned
LAYOUT_OF_AXES = {1: "vector", 2: "series", 3: "image"}


@option("data")
@dataclass(frozen=True)
class Arrays(DataOptions):
    """The user's own .npz with x, y and, optionally, node, x_test, y_test, node_test."""

    name: str = setting("arrays", "the option's name", choices=("arrays",))
    path: str = setting("", "of the .npz file")
    unlabelled: str | None = setting(
        None, "an .npz with x of further inputs and, optionally, node (teach.inputs=unlabelled)"
    )
    labels: tuple[str, ...] = setting(
        [], "names in the order of class indices; empty: 0, 1, ...", distinct=True
    )
    label_map: dict[str, str] = setting(
        {}, "the task's label for each of this site's own, where task=declared names them otherwise"
    )
    kind: str = setting(
        "classes",
        "of y: a class index, 0 or 1 for each of several labels, or numbers",
        choices=(CLASSES, LABELS, VALUES),
    )
    tokens: bool = setting(False, "x (n, length) holds whole numbers of a vocabulary: text")
    low: float | None = setting(None, "of inputs' range; null: 0 for images, else the data's")
    high: float | None = setting(None, "of inputs' range; null: 255 for uint8, else the data's")
    units: str = setting(
        "range",
        "of a table's columns: one place and spread for all, of the range; or each column's own in "
        "this file's training rows (sites with files of their own: task=declared)",
        choices=("range", "columns"),
    )
    test_share: float = setting(
        0.25, "kept for the test where the file has none", low=0.05, high=0.9
    )
    batch_size: int = setting(16, "own training samples a step", low=1)

    early: ClassVar[bool] = True

    def load(self) -> DataSet:
        """Return the samples of an .npz with x, y and, optionally, node, x_test, y_test, node_test.

        x: (n, features), (n, channels, length) or (n, channels, height, width).  y: (n,) class
        indices or label names, or (n, K) labels or values, as `kind` says.  node: (n,) whole
        numbers or text, whose sample it is.
        """
        return self._load((), False)

    def load_for(self, task: Declared) -> DataSet:
        """Return the same where the task is declared elsewhere."""
        # A site that maps its own labels has other names than the task's.
        return self._load(() if self.label_map else tuple(task.labels), True)

    def _load(self, names: tuple[str, ...], ranged: bool) -> DataSet:
        arrays = read_arrays("path", self.path, {"x", "y"})
        unlabelled, further = self.unlabelled, None
        if unlabelled is not None:
            further = read_arrays("unlabelled", unlabelled, {"x"})
        reading = Reading(
            tuple(self.labels),
            self.test_share,
            self.kind,
            self.tokens,
            self.low,
            self.high,
            self.units,
            str(unlabelled),
        )
        return from_arrays(arrays, reading, self.source(), names, further, ranged)

    def own_name(self) -> str:
        """Return the file's own name."""
        return Path(self.path).stem or self.name

    def source(self) -> str:
        """Return what a message calls the data: its file."""
        return str(Path(self.path).expanduser())

    def mapped(self) -> dict[str, str]:
        """Return the declared task's label for each of the data's own that has another name."""
        return self.label_map

    def further(self) -> str | None:
        """Return the file of further inputs without labels."""
        return self.unlabelled

    def is_text(self) -> bool:
        """Return whether inputs are whole numbers of a vocabulary."""
        return self.tokens


def read_arrays(key: str, name: str, needed: set[str]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an .npz by name.  key: of `data`, which names it.  Raises DataError."""
    path = Path(name).expanduser()
    if not name or not path.is_file():
        said = "no such .npz file" if name else f"needs an .npz file: data.{key}=mine.npz"
        if name and path.is_dir():
            said = f"is a folder; give an .npz file in it, e.g. {Path(name) / 'mine.npz'}"
        raise DataError(f"data.{key}={name or 'null'}: {said}")
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"data.{key}={name}: is not an .npz file; save arrays together: "
            "np.savez('mine.npz', x=x, y=y)"
        )
    try:
        check_unpacked(path, f"data.{key}={name}")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {stored_name: _stored(stored, stored_name, path) for stored_name in stored}
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    if needed - set(arrays):
        raise DataError(
            f"{path}: needs arrays {' and '.join(sorted(needed))}, "
            f"has {', '.join(sorted(arrays)) or 'none'}"
        )
    for one, other in (("x_test", "y_test"), ("y_test", "x_test")):
        if one in arrays and other not in arrays:
            raise DataError(f"{path}: has {one} but no {other}; give both, or neither")
    return arrays


def _stored(stored: Any, name: str, path: Path) -> npt.NDArray[Any]:
    """Return one array of a file.  Raises DataError where only running its code could read it."""
    try:
        array: npt.NDArray[Any] = stored[name]
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise DataError(
            f"{path}: {name} holds Python objects; save numbers, or text as {name}.astype(str)"
        ) from None
    return array


@dataclass(frozen=True)
class Reading:
    """Say how named arrays are read.  The settings of `Arrays` say what each means."""

    labels: tuple[str, ...]
    test_share: float
    kind: str = CLASSES
    tokens: bool = False
    low: float | None = None
    high: float | None = None
    units: str = "range"
    unlabelled: str = ""


def from_arrays(
    arrays: Mapping[str, Any],
    reading: Reading,
    source: str,
    names: tuple[str, ...] = (),
    further: Mapping[str, Any] | None = None,
    ranged: bool = False,
) -> DataSet:
    """Return the data set of named arrays, with a test part split off where there is none.

    names: of the labels, where the config names none.  further: arrays of inputs that nobody has
    labelled.  ranged: whether a declared task says what range inputs have.  Raises DataError.
    """
    kind = reading.kind
    named = tuple(reading.labels) or names
    inputs = inputs_of(arrays["x"], source)
    labels = _told(arrays["y"], kind, source, "y", named)
    all_names = label_names(tuple(reading.labels), labels, source)
    task = _task(arrays["x"], inputs, all_names, reading, source, ranged)
    if kind == VALUES:
        task = _with_units(task, labels, source)
    node, test_node, further_node = site_indices(
        [arrays.get("node"), arrays.get("node_test"), (further or {}).get("node")], "node", source
    )
    _same_length(source, x=inputs, y=labels, node=node)
    if "x_test" in arrays:
        test_x = inputs_of(arrays["x_test"], source, "x_test")
        test_y = _told(arrays["y_test"], kind, source, "y_test", named)
        _same_length(source, x_test=test_x, y_test=test_y, node_test=test_node)
        check_shape(test_x, task, source, "x_test")
        fits = test_y.shape[1:] == labels.shape[1:]
        if kind == CLASSES and fits:
            fits = int(test_y.max(initial=0)) < task.classes
        if not fits:
            raise DataError(f"{source}: y_test holds labels that y lacks; name all: data.labels")
        check_apart(inputs, test_x, source)
        made = DataSet(task, inputs, labels, test_x, test_y, node, test_node)
    else:
        strata = labels if kind == CLASSES else np.zeros(len(labels), np.int64)
        train, test = split_test(strata, node, reading.test_share)
        nodes = (None, None) if node is None else (node[train], node[test])
        made = DataSet(task, inputs[train], labels[train], inputs[test], labels[test], *nodes)
    if further is not None:
        made = _with_further(made, further, further_node, reading.unlabelled)
    return in_units(made)


def _with_further(
    data: DataSet, arrays: Mapping[str, Any], nodes: Ints | None, name: str
) -> DataSet:
    """Return the data with further inputs, which nobody has labelled."""
    source = f"data.unlabelled={name}"
    inputs = inputs_of(arrays["x"], source)
    check_shape(inputs, data.task, source)
    _same_length(source, x=inputs, node=nodes)
    if nodes is not None and data.train_node is not None:
        strangers = np.setdiff1d(nodes, data.train_node)
        if len(strangers) == len(np.unique(nodes)):
            raise DataError(f"{source}: none of its sites has a sample in data.path")
    return replace(data, further_x=inputs, further_node=nodes)


def _with_units(task: Task, values: Floats32, source: str) -> Task:
    """Return a task with one place and spread for each value: from all that the file has."""
    spread = values.astype(np.float64).std(axis=0)
    flat = np.flatnonzero(spread < LEAST_SPREAD)
    if len(flat):
        raise DataError(
            f"{source}: y column {flat[0]} is {values[0, flat[0]]:g} in every sample: there is "
            "nothing to learn; leave it out"
        )
    return replace(
        task,
        target_location=tuple(values.mean(axis=0).astype(np.float64).tolist()),
        target_scale=tuple(spread.tolist()),
    )


def check_inputs(data: DataSet, source: str) -> None:
    """Raise DataError where inputs of a data set lie far outside of its task's range."""
    check_range(data.train_x, data.task, source)
    check_range(data.test_x, data.task, source, "x_test")
    check_targets(data.train_y, data.task, source)
    check_targets(data.test_y, data.task, source, "y_test")
    if data.further_x is not None:
        check_range(data.further_x, data.task, source, "unlabelled x")


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


def _told(
    values: Any, kind: str, source: str, name: str, names: tuple[str, ...]
) -> npt.NDArray[Any]:
    if kind == CLASSES:
        return class_indices(values, source, name, names, len(names) or None)
    return targets(values, kind, source, name)


def _task(
    given: Any,
    inputs: Floats32,
    names: tuple[str, ...],
    reading: Reading,
    source: str,
    ranged: bool,
) -> Task:
    """Return the task that inputs alone tell of.

    given: as they came, which says whether they are bytes.
    """
    layout = LAYOUT_OF_AXES.get(inputs.ndim - 1)
    if layout is None:
        raise DataError(f"{source}: x must have 2, 3 or 4 axes, got {inputs.ndim}")
    if reading.tokens:
        if layout != "vector" or not np.array_equal(inputs, np.rint(inputs)):
            raise DataError(f"{source}: data.tokens needs x (n, length) of whole numbers")
        layout = "tokens"
    # Where the task is declared, its own range takes the place of this one.
    low, high = (0.0, 1.0) if ranged else _range(given, inputs, layout, reading, source)
    location: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    if layout == "vector":
        # One place and one spread for all features, from the declared range: never from a node.
        location, scale = ((low + high) / 2,), ((high - low) / 4,)
        if reading.units == "columns":
            spread = inputs.std(axis=0, dtype=np.float64)
            location = tuple(inputs.mean(axis=0, dtype=np.float64).tolist())
            scale = tuple(np.where(spread > 0.0, spread, 1.0).tolist())
    return Task(
        name=Path(source).stem,
        version=1,
        labels=names,
        layout=layout,
        shape=tuple(int(n) for n in inputs.shape[1:]),
        units="",
        low=low,
        high=high,
        location=location,
        scale=scale,
        kind=reading.kind,
    )


def _range(
    given: Any, inputs: Floats32, layout: str, reading: Reading, source: str
) -> tuple[float, float]:
    """Return the range of inputs: as configured, of bytes, or what they themselves hold."""
    low, high = reading.low, reading.high
    byte = getattr(given, "dtype", None) == np.uint8
    if layout != "tokens" and low is None and high is None and not byte:
        check_proportion(inputs, source)
    if low is None:
        low = 0.0 if byte or layout == "image" else float(inputs.min())
        if layout == "image" and float(inputs.min()) < 0.0:
            raise DataError(
                f"{source}: x holds {inputs.min():g}, images begin at 0; say what their range is: "
                "data.low=... data.high=..., alike at every site"
            )
    if high is None:
        high = 255.0 if byte else float(inputs.max())
    if not low < high:
        raise DataError(
            f"{source}: x holds {low:g} to {high:g}, no range; set data.low and data.high"
        )
    return float(low), float(high)


def _same_length(source: str, **arrays: npt.NDArray[Any] | None) -> None:
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise DataError(f"{source}: {told} samples; they must be as many")
