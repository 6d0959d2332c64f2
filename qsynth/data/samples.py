"""The checks that samples pass at every entrance: a file, a DataModule, a script.

Each names the source, the array, the first row at fault, the rule, and what mends it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.errors import DataError, nearest_spelling
from qsynth.types import LABELS, VALUES, Floats32, Ints, Task

CHANNELS = (1, 3, 4)  # of an image, where they stand last
MOST_CLASSES = 65_536
MANY_CLASSES = 1_000  # from here on there must be as many samples
MOST_WHOLE = 2**53  # of a number with a fraction's bits
# How far inputs may lie outside of the task's range, in spans of it.  A resized image overshoots
# a little; a series or a table may hold rare values far away.
SLACK = {"image": 0.25, "series": 1e3, "vector": 1e6}
SHARED, TWINS = 0.01, 3.0  # test inputs that train: a share, and times that of equal rows
MOST_SCALES = 1e4  # of a value from the task's target location
OUT_OF_PROPORTION = 1e6  # times nine tenths of the values, where they alone say what the range is
SHOWN_NAMES = 6
AT_A_TIME = 1 << 16  # rows that are looked at


def as_array(values: Any, name: str, source: str) -> npt.NDArray[Any]:
    """Return values as an array with at least one axis; tensors are taken off their graph.

    Raises DataError where they are none, or hold masked entries.
    """
    kind = type(values).__name__
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    if np.ma.isMaskedArray(values) and np.ma.getmaskarray(values).any():
        raise DataError(f"{source}: {name} holds masked entries; fill them in, or leave them out")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"{source}: {name} must be an array, got {kind} ({error})") from None
    if array.ndim == 0:
        raise DataError(f"{source}: {name} must be an array of samples, got {kind}")
    if array.dtype.kind == "O":
        # Numbers, or text, that only came as objects; anything else stays what it is.
        plain = {type(value) for value in array.ravel().tolist()}
        if plain and (plain <= {int, float, bool} or plain == {str}):
            array = np.array(array.tolist())
    return array


def numbers(values: Any, name: str, source: str) -> npt.NDArray[Any]:
    """Return an array of numbers.  Raises DataError where it holds anything else."""
    array = as_array(values, name, source)
    if array.dtype.kind not in "iufb":
        held = {
            "U": "text",
            "S": "bytes",
            "O": "Python objects",
            "c": "complex numbers",
            "M": "dates",
            "m": "times",
        }.get(array.dtype.kind, str(array.dtype))
        raise DataError(f"{source}: {name} must hold numbers, it holds {held}")
    return array


def inputs_of(values: Any, source: str, name: str = "x", empty: bool = False) -> Floats32:
    """Return (n, ...) float32 inputs, all finite.  Raises DataError.

    empty: whether n may be 0.
    """
    array = numbers(values, name, source)
    if not len(array) and not empty:
        raise DataError(f"{source}: {name} holds no sample")
    if len(array) and not array[:1].size:
        raise DataError(f"{source}: {name} has no features: its shape is {array.shape}")
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(array, dtype=np.float32)
    check_finite(made, name, source)
    return made


def check_finite(values: npt.NDArray[Any], name: str, source: str) -> None:
    """Raise DataError where a number is NaN, infinite, or beyond float32: how many, and where."""
    bad = ~np.isfinite(values)
    count = int(bad.sum())
    if not count:
        return
    place = np.unravel_index(int(bad.argmax()), bad.shape)
    column = ", ".join(map(str, place[1:]))
    where = f"row {place[0]}" + (f", column {column}" if column else "")
    raise DataError(
        f"{source}: {name} holds numbers that are not finite: {count}, the first in {where}; fill "
        "them in, or leave these rows out"
    )


def check_shape(inputs: Floats32, task: Task, source: str, name: str = "x") -> None:
    """Raise DataError where inputs have not the task's shape; say which axes would fit."""
    if inputs.shape[1:] == task.shape:
        return
    shape, hint = inputs.shape[1:], ""
    if len(shape) == 3 and (shape[2], *shape[:2]) == task.shape:
        hint = f": channels stand last, give {name}.transpose(0, 3, 1, 2)"
    elif task.shape == (1, *shape):
        hint = f": give {name}[:, None]"
    elif math.prod(shape) == math.prod(task.shape):
        hint = f": give {name}.reshape(-1, {', '.join(map(str, task.shape))})"
    wanted = ", ".join(map(str, task.shape))
    given = ", ".join(map(str, shape))
    raise DataError(f"{source}: {name} must be (n, {wanted}), it is (n, {given}){hint}")


def check_axes(inputs: Floats32, source: str, name: str = "x") -> None:
    """Raise DataError where channels of images stand last: nothing else says what an axis is."""
    shape = inputs.shape[1:]
    if len(shape) == 3 and shape[2] in CHANNELS and shape[0] not in CHANNELS:
        raise DataError(
            f"{source}: {name} is (n, {', '.join(map(str, shape))}): channels seem to stand last, "
            f"give {name}.transpose(0, 3, 1, 2); where they do not, declare the shape "
            "(task=declared)"
        )


def check_range(inputs: Floats32, task: Task, source: str, name: str = "x") -> None:
    """Raise DataError where inputs lie so far outside of the task's range that they mean another.

    inputs: (n, *task.shape).  A table's values are measured by the task's location and scale.
    """
    if not len(inputs):
        return
    if task.layout == "tokens":
        _check_tokens(inputs, task, source, name)
        return
    low, high = task.low, task.high
    lowest, highest = np.float64(low), np.float64(high)
    slack = SLACK[task.layout] * (high - low)
    if task.layout == "vector":
        size = math.prod(task.shape)
        place = np.broadcast_to(np.asarray(task.location or 0.0), (size,)).reshape(task.shape)
        spread = np.broadcast_to(np.asarray(task.scale or 1.0), (size,)).reshape(task.shape)
        lowest = np.minimum(low, place - spread)
        highest = np.maximum(high, place + spread)
        slack = SLACK["vector"] * np.maximum(spread, high - low)
    lowest, highest = lowest - slack, highest + slack
    for start in range(0, len(inputs), AT_A_TIME):
        part = inputs[start : start + AT_A_TIME]
        outside = (part < lowest) | (part > highest)
        if not outside.any():
            continue
        first = np.unravel_index(int(outside.argmax()), outside.shape)
        value = float(part[first])
        raise DataError(
            f"{source}: {name} holds {value:.6g} in row {start + first[0]}, far outside of the "
            f"task's range [{low:g}, {high:g}]; bring inputs into it, or set low and high to "
            "what they hold, alike at every site"
        )


def _check_tokens(inputs: Floats32, task: Task, source: str, name: str) -> None:
    wrong = (inputs != np.rint(inputs)) | (inputs < task.low) | (inputs > task.high)
    if wrong.any():
        row = int(np.unravel_index(int(wrong.argmax()), wrong.shape)[0])
        raise DataError(
            f"{source}: {name} must hold whole numbers of the vocabulary, {task.low:g} to "
            f"{task.high:g}; row {row} has another"
        )


def check_targets(values: Floats32, task: Task, source: str, name: str = "y") -> None:
    """Raise DataError where values are too far from the task's target location to mean its units.

    values: (n, K) less the location, in units of the task's target scale.
    """
    far = np.abs(values) > MOST_SCALES
    if task.kind == VALUES and far.any():
        row, column = np.unravel_index(int(far.argmax()), far.shape)
        raise DataError(
            f"{source}: {name} holds {values[row, column]:.6g} target scales in row {row}, column "
            f"{column}; mend it, or set task.target_location and task.target_scale"
        )


def check_proportion(inputs: Floats32, source: str, name: str = "x") -> None:
    """Raise DataError where a few values are so large that a range from the data hides the others.

    inputs: whose own least and greatest value would be the range.
    """
    sizes = np.abs(inputs[inputs != 0.0])
    if not sizes.size:
        return
    usual, most = float(np.quantile(sizes, 0.9)), float(sizes.max())
    if most > OUT_OF_PROPORTION * usual:
        row = int(np.unravel_index(int(np.abs(inputs).argmax()), inputs.shape)[0])
        raise DataError(
            f"{source}: {name} holds {most:.6g} in row {row}, nine tenths of its values are at "
            f"most {usual:.3g}; mend it, or set data.low and data.high"
        )


def row_digests(*arrays: npt.NDArray[Any]) -> npt.NDArray[np.bytes_]:
    """Return (n,) digests of the rows of arrays (n, ...): equal rows have equal ones."""
    rows = zip(*(np.ascontiguousarray(a).reshape(len(a), -1) for a in arrays), strict=True)
    made = [hashlib.blake2b(b"".join(r.tobytes() for r in row), digest_size=15) for row in rows]
    # One byte that is never 0 at the end: NumPy cuts zeros off.
    return np.array([digest.digest() + b"." for digest in made], dtype="S16")


def check_apart(train: Floats32, test: Floats32, source: str) -> None:
    """Raise DataError where test inputs are training inputs, more often than equal rows explain.

    train, test: (n, ...).  In a table of few values rows are equal by chance, in training as well.
    """
    known, each = row_digests(train), row_digests(test)
    twins = 1.0 - len(np.unique(known)) / len(known)
    shared = float(np.isin(each, known).mean())
    if shared > SHARED + TWINS * twins:
        raise DataError(
            f"{source}: {100 * shared:.0f} % of the test inputs are training inputs; give others, "
            "or none (then data.test_share of the samples is left aside)"
        )


def class_indices(
    values: Any, source: str, name: str = "y", names: Sequence[str] = (), classes: int | None = None
) -> Ints:
    """Return (n,) int64 class indices of indices or label names.

    names: of the labels, in the order of their indices; text is looked up there.  classes: how
    many the task has; None: as many as there turn out to be.  Raises DataError.
    """
    array = _one_column(as_array(values, name, source), name, source)
    if array.dtype.kind == "U":
        return _looked_up(array, source, name, names)
    array = numbers(array, name, source)
    if array.dtype.kind == "b" and classes not in (None, 2):
        raise DataError(f"{source}: {name} holds true and false, the task has {classes} labels")
    if array.dtype.kind == "f":
        check_finite(array, name, source)
        rule = "must be a class index, a whole number"
        _refuse(array != np.rint(array), array, source, name, rule)
    _refuse(array < 0, array, source, name, "must be a class index, 0 or more")
    most = MOST_CLASSES if classes is None else classes
    rule = f"must be a class index below {most}"
    if classes is None:
        rule += "; number the classes 0, 1, 2, ..."
    _refuse(array >= most, array, source, name, rule)
    return array.astype(np.int64)


def _one_column(array: npt.NDArray[Any], name: str, source: str) -> npt.NDArray[Any]:
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        hint = ""
        if array.ndim == 2:
            hint = f"; of one-hot rows give {name}.argmax(1), of several labels data.kind=labels"
        raise DataError(
            f"{source}: {name} must hold one class index a sample, it is {array.shape}{hint}"
        )
    return array


def _looked_up(array: npt.NDArray[Any], source: str, name: str, names: Sequence[str]) -> Ints:
    found = sorted(set(array.tolist()))
    if not names:
        shown = ",".join(found[:SHOWN_NAMES]) + (",..." if len(found) > SHOWN_NAMES else "")
        raise DataError(
            f"{source}: {name} holds label names ({shown}); say their order: data.labels=[...]"
        )
    places = {label: index for index, label in enumerate(names)}
    for label in found:
        if label not in places:
            known = nearest_spelling(label, names)
            row = array.tolist().index(label)
            raise DataError(f"{source}: {name} holds {label} in row {row}: no such label{known}")
    return np.array([places[label] for label in array.tolist()], np.int64)


def _refuse(
    bad: npt.NDArray[np.bool_], array: npt.NDArray[Any], source: str, name: str, rule: str
) -> None:
    """Raise DataError for the first entry that is bad, if one is."""
    if bad.any():
        row = int(bad.argmax())
        raise DataError(f"{source}: {name} holds {array[row]} in row {row}: {rule}")


def check_classes(highest: int, samples: int, source: str) -> None:
    """Raise DataError where there are more classes than samples can tell of."""
    classes = highest + 1
    if classes > MANY_CLASSES and classes > samples:
        raise DataError(
            f"{source}: y holds class {highest}, so {classes} classes for {samples} samples; "
            "number the classes 0, 1, 2, ..., or name them"
        )


def targets(values: Any, kind: str, source: str, name: str = "y") -> Floats32:
    """Return (n, K) float32 targets: finite numbers, or 0 and 1 for labels.  Raises DataError."""
    array = numbers(values, name, source)
    if array.ndim not in (1, 2) or not array[:1].size:
        raise DataError(
            f"{source}: {name} must hold numbers (n, K) for data.kind={kind}, it is {array.shape}"
        )
    with np.errstate(over="ignore"):
        made = array.reshape(len(array), -1).astype(np.float32)
        # Their spread is measured in float32.
        squares = np.square(made)
    check_finite(np.where(np.isfinite(squares), made, np.inf), name, source)
    if kind == LABELS:
        bad = ~np.isin(made, (0.0, 1.0)).all(axis=1)
        if bad.any():
            raise DataError(
                f"{source}: {name} must hold 0 and 1 for data.kind=labels, row {bad.argmax()} is "
                f"{made[int(bad.argmax())].tolist()}"
            )
    return made


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
    if not given:
        check_classes(needed - 1, len(labels), source)
    names = given or tuple(str(c) for c in range(needed))
    if len(names) < 2:
        raise DataError(f"{source}: at least two classes are needed, got {len(names)}")
    return names


def site_indices(arrays: Sequence[Any], name: str, source: str) -> list[Ints | None]:
    """Return for each array, or None, whose each sample is: whole numbers, or text, as numbers.

    The same text has the same number in all of them.  Raises DataError.
    """
    given = [None if a is None else _one_site(a, name, source) for a in arrays]
    texts = [a for a in given if a is not None and a.dtype.kind == "U"]
    if texts and any(a is not None and a.dtype.kind != "U" for a in given):
        raise DataError(f"{source}: {name} holds text in one part and numbers in another")
    if not texts:
        return [None if a is None else a.astype(np.int64) for a in given]
    known = np.unique(np.concatenate(texts))
    return [None if a is None else np.searchsorted(known, a).astype(np.int64) for a in given]


def _one_site(values: Any, name: str, source: str) -> npt.NDArray[Any]:
    array = as_array(values, name, source)
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.ndim != 1:
        raise DataError(f"{source}: {name} must hold one site a sample, it is {array.shape}")
    if array.dtype.kind == "U":
        return array
    array = numbers(array, name, source)
    if array.dtype.kind == "f":
        check_finite(array, name, source)
        _refuse(array != np.rint(array), array, source, name, "must be a whole number, or text")
    # Of an unsigned number, the half that has no sign.
    _refuse(np.abs(array.astype(np.float64)) > MOST_WHOLE, array, source, name, "is too large")
    return array
