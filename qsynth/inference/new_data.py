"""New inputs for a predictor: rows of a table, pictures of a folder, arrays of an .npz."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.data.arrays import Arrays, read_arrays
from qsynth.data.base import DataOptions
from qsynth.data.columns import (
    ColumnSettings,
    arrow,
    column_of,
    encoded,
    indices_of,
    numbers_of,
    texts_of,
)
from qsynth.data.images import Images, picture, pictures_below
from qsynth.data.samples import check_range, check_shape, class_indices, inputs_of, targets
from qsynth.data.table import Table
from qsynth.data.table_file import FILE
from qsynth.errors import DataError, nearest_spelling
from qsynth.schema import name_of
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import CATEGORY, LABELS, NUMBER, VALUES, Floats32, Ints, Task

MOST_LOOKED_AT = 1_000  # rows, for what to say of them
ROWS = 4_096  # of a table, made into features at a time


@dataclass(frozen=True)
class NewData:
    """Inputs in their order, made as they are asked for.

    count: how many there are.  names: what each is called: its row, or its file.  inputs: gives
    (m, *task.shape) of rows from, to.  truth: (n,) class indices, -1 where none is known, or (n, K)
    targets, NaN where none is; None where the data hold no answer at all.
    """

    count: int
    names: Callable[[int], str]
    inputs: Callable[[int, int], Floats32]
    truth: Any = None
    notes: tuple[str, ...] = ()


def read_new(options: DataOptions, task: Task) -> NewData:
    """Return the inputs that a data option names, as a task of a predictor takes them.

    task: of the inputs.  Raises DataError where they do not fit it.
    """
    if isinstance(options, Table):
        return _rows(options, task)
    if isinstance(options, Images):
        return _pictures(options, task)
    if isinstance(options, Arrays):
        return _arrays(options, task)
    raise DataError(
        f"data.name={name_of(options)}: predict takes tables, folders of pictures, .npz"
    )


def table_inputs(path: str | Path, task: Task) -> Floats32:
    """Return (n, d) inputs of a table's rows, as a predictor of its task takes them.

    path: of a CSV, Parquet or Feather file that has the columns of `task`, which is a predictor's
    `predictor.task`, in any order.  Raises DataError where they do not fit.
    """
    made = read_new(Table(path=str(path)), task)
    return made.inputs(0, made.count)


def test_data(plan: RunPlan, node: NodePlan, rows: Ints) -> NewData:
    """Return the test samples that a node of a run was measured on.

    rows: which of the plan's.  Each is called by the row of the file that it is, where that is
    known.
    """
    data = plan.data
    places = rows if data.test_rows is None else data.test_rows[rows]

    def inputs(start: int, end: int) -> Floats32:
        return node.share.inputs(data.test_x[rows[start:end]])

    truth: Any = node.share.labels(data.test_y[rows])
    if not data.task.classified and data.task.kind == VALUES:
        scale, place = data.task.target_scale or (1.0,), data.task.target_location or (0.0,)
        truth = truth * np.array(scale, np.float32) + np.array(place, np.float32)
    named = places.dtype.kind == "U"  # pictures are called by their files

    def name(at: int) -> str:
        return str(places[at]) if named else f"{node.name}:{places[at]}"

    return NewData(len(rows), name, inputs, truth)


def _rows(options: Table, task: Task) -> NewData:
    if not task.columns:
        raise DataError(
            f"data.path={options.path}: the predictor was not made of a table's columns"
        )
    columns = _described(task)
    own = (options.label,) if isinstance(options.label, str) else tuple(options.label)
    answers = tuple(name for name in own if name) or task.answers
    if len(answers) != len(task.answers):
        raise DataError(
            f"data.label=[{','.join(answers)}]: the predictor tells {len(task.answers)}: "
            f"{', '.join(task.answers)}"
        )
    for own_label, label in options.label_map.items():
        if label not in task.labels:
            known = nearest_spelling(label, task.labels)
            raise DataError(f"data.label_map.{own_label}={label}: no label of the predictor{known}")
    file = options.file(answers if task.classified else (), columns, task.missing)
    table, notes = file.read(options.leave_out)
    if any(own) and not set(answers) <= set(table.column_names):
        lacking = next(name for name in answers if name not in table.column_names)
        known = nearest_spelling(lacking, table.column_names)
        raise DataError(f"data.label={lacking}: {options.path} has no such column{known}")
    values = {name: column_of(table, name, options.path) for name in columns}
    for name, each in columns.items():
        if each.kind == CATEGORY:  # as a whole: a part might be all whole numbers
            values[name] = texts_of(values[name])
    notes += _missing_notes(table, columns)
    truth = None
    if all(name in table.column_names for name in answers):
        truth = _told(table, answers, task, options.label_map)
        if task.classified and (truth < 0).any():
            strange = np.flatnonzero(truth < 0)[:MOST_LOOKED_AT].tolist()
            there = {str(table[answers[0]][at]) for at in strange if table[answers[0]][at].is_valid}
            if there:
                shown = ", ".join(sorted(there)[:5])
                notes.append(
                    f"column {answers[0]}: {shown}: no label of the predictor; data.label_map says "
                    "which each is"
                )
    places, whose = file.places(table), table[FILE] if file.of_folder else None

    def called(at: int) -> str:
        return str(places[at]) if whose is None else f"{whose[at]}:{places[at]}"

    def inputs(start: int, end: int) -> Floats32:
        return _features(values, columns, start, end)

    return NewData(table.num_rows, called, inputs, truth, tuple(notes))


def features_of(table: Any, task: Task, source: str) -> Floats32:
    """Return the (n, d) features of a table's rows.  Raises DataError."""
    columns = _described(task)
    values = {name: column_of(table, name, source) for name in columns}
    return _features(values, columns, 0, table.num_rows)


def _features(
    values: dict[str, Any], columns: dict[str, ColumnSettings], start: int, end: int
) -> Floats32:
    count = end - start
    some = {name: column.slice(start, count) for name, column in values.items()}
    return encoded(some, columns, [np.ones(count, bool)], lambda row: row + start)[0][0]


def _described(task: Task) -> dict[str, ColumnSettings]:
    """Return what a task says of each column, with the location that stands for what is missing."""
    made = {}
    for at, column in task.columns_at():
        place = 0.0 if column.kind == CATEGORY else task.location[at]
        made[column.name] = ColumnSettings(column.kind, column.levels, column.indicated, place)
    return made


def _missing_notes(table: Any, columns: dict[str, ColumnSettings]) -> list[str]:
    """Return what is missing of each column, and levels that the predictor does not know."""
    made = []
    for name, each in columns.items():
        values = table[name]
        if values.null_count:
            made.append(f"column {name}: {values.null_count} of {len(values)} rows are missing")
        if each.kind == CATEGORY:
            there = texts_of(values).unique().drop_null()
            new = indices_of(there, each.levels) < 0
            strange = sorted(there.filter(arrow.array(new)).to_pylist())
            if strange:
                made.append(f"column {name}: {', '.join(strange[:5])}: not known to the predictor")
    return made


def _told(table: Any, answers: Sequence[str], task: Task, other: dict[str, str]) -> Any:
    if not task.classified:
        told = [numbers_of(table[name], name, NUMBER) for name in answers]
        made = np.stack(told, axis=1).astype(np.float32)
        return _checked_targets(made, task, answers[0])
    own = {name: name for name in task.labels} | other
    places = np.array([task.labels.index(name) for name in own.values()] + [-1], np.int64)
    return places[indices_of(table[answers[0]], list(own))]


def _pictures(options: Images, task: Task) -> NewData:
    if task.layout != "image" or task.shape[1] != task.shape[2]:
        raise DataError(f"data.path={options.path}: the predictor takes no pictures")
    files = pictures_below(options.path)
    place = {name: index for index, name in enumerate(task.labels)}
    truth: Ints = np.array([place.get(file.parent.name, -1) for file in files], np.int64)
    root = Path(options.path).expanduser()

    def inputs(start: int, end: int) -> Floats32:
        each = [picture(file, task.shape[1], task.shape[0] == 1) for file in files[start:end]]
        return np.stack(each)

    return NewData(
        len(files),
        lambda at: str(files[at].relative_to(root)),
        inputs,
        truth if (truth >= 0).any() else None,
    )


def _arrays(options: Arrays, task: Task) -> NewData:
    arrays = read_arrays("path", options.path, {"x"})
    inputs = inputs_of(arrays["x"], options.path)
    check_shape(inputs, task, options.path)
    check_range(inputs, task, options.path)
    truth: Any = arrays.get("y")
    if truth is not None:
        # As in training: class indices or names, or (n, K) numbers.
        source = options.path
        if task.classified:
            truth = class_indices(truth, source, "y", task.labels, task.classes)
        else:
            truth = _checked_targets(targets(truth, task.kind, source), task, source)
        if len(truth) != len(inputs):
            raise DataError(f"{source}: x has {len(inputs)} rows, y {len(truth)}")
    return NewData(len(inputs), str, lambda start, end: inputs[start:end], truth)


def _checked_targets(truth: Floats32, task: Task, source: str) -> Floats32:
    """Return (n, K) targets, NaN where none is known.  Raises DataError where they are none."""
    if truth.shape[1] != task.classes:
        raise DataError(
            f"{source}: {truth.shape[1]} answers a row, the predictor has {task.classes}"
        )
    if task.kind == LABELS:
        wrong = ~np.isin(truth, (0.0, 1.0)) & ~np.isnan(truth)
        if wrong.any():
            row = int(wrong.any(axis=1).argmax())
            raise DataError(f"{source}: row {row} holds {truth[row].tolist()}: a label is 0 or 1")
    return truth
