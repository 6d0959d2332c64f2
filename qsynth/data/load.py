"""Load the data set that a config names, with the task it declares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsynth.data.arrays import check_inputs, in_units, units
from qsynth.data.base import DataOptions
from qsynth.data.dataset import DataSet
from qsynth.data.samples import check_axes, check_shape
from qsynth.data.table import task_of_columns
from qsynth.data.task import Declared, FromData, as_texts
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.types import VALUES, Task


def load_data(config: DataOptions, task: FromData | Declared) -> DataSet:
    """Return the data set of a `data` config; its task is the data's own or the declared one."""
    data = _loaded(config, task)
    if config.against():
        data = against_the_rest(data, tuple(config.against()))
    if config.mapped():
        data = renamed(data, config.mapped(), task)
    if isinstance(task, FromData):
        if data.task.layout == "image":
            check_axes(data.train_x, config.source() or data.task.name)
        named = replace(data.task, version=task.version, invariances=tuple(task.invariances))
    else:
        named = declared(task, data)
        if named.kind == VALUES:
            data = in_units(replace(_in_own_units(data), task=named))
    if named.invariances and named.layout != "image":
        raise ConfigError(f"task.invariances: for images, the data are {named.layout} inputs")
    data = replace(data, task=named)
    check_inputs(data, config.source() or data.task.name)
    return data


def _loaded(config: DataOptions, task: FromData | Declared) -> DataSet:
    """Return the data set of a config, with the task that it tells of."""
    if not isinstance(task, Declared):
        return config.load()
    return config.load_for(task)


def _in_own_units(data: DataSet) -> DataSet:
    place, spread = units(data.task)
    return replace(data, train_y=data.train_y * spread + place, test_y=data.test_y * spread + place)


def _declared_targets(task: Task, data: DataSet) -> Task:
    count = data.train_y.shape[1]
    if len(task.labels) != count:
        raise ConfigError(f"task.labels={list(task.labels)}: the data have {count} targets")
    return task


def against_the_rest(data: DataSet, positives: tuple[str, ...]) -> DataSet:
    """Return the data with two labels: `rest` (0), and the positives together (1).

    Raises ConfigError for a label that is none, or where no other is left.
    """
    labels = data.task.labels
    for name in positives:
        if name not in labels:
            raise ConfigError(f"data.positives: no label {name}{nearest_spelling(name, labels)}")
    chosen = np.array([label in positives for label in labels])
    if chosen.all():
        raise ConfigError("data.positives: no label is left for the rest")
    joined = "+".join(label for label in labels if label in positives)
    task = replace(data.task, name=f"{data.task.name}:{joined}", labels=("rest", joined))
    train, test = chosen[data.train_y].astype(np.int64), chosen[data.test_y].astype(np.int64)
    return replace(data, task=task, train_y=train, test_y=test)


def renamed(data: DataSet, names: dict[str, str], task: FromData | Declared) -> DataSet:
    """Return the data with a site's own labels as the declared task numbers them.

    names: the task's label for each of the site's; several may be one.  A label of the site that
    is not in it must be one of the task's.  Raises ConfigError.
    """
    if isinstance(task, FromData):
        raise ConfigError(
            "data.label_map: needs task=declared, which names the labels of all sites"
        )
    own, wanted = data.task.labels, tuple(task.labels)
    for name in names:
        if name not in own:
            raise ConfigError(
                f"data.label_map.{name}: not a label of the data{nearest_spelling(name, own)}"
            )
    places = []
    for name in own:
        target = names.get(name, name)
        if target not in wanted:
            known = nearest_spelling(target, wanted)
            raise ConfigError(f"data.label_map: {name} -> {target}: no label of the task{known}")
        places.append(wanted.index(target))
    order = np.array(places, np.int64)
    return replace(
        data,
        task=replace(data.task, labels=wanted),
        train_y=order[data.train_y],
        test_y=order[data.test_y],
    )


def declared(config: Declared, data: DataSet) -> Task:
    """Return the declared task.  Raises ConfigError where the data do not fit it."""
    task = _of_table(config, data) if config.columns or data.task.columns else _of_inputs(config)
    if task.shape != data.task.shape:
        # Says which axes would fit, where they are the same numbers in another order.
        check_shape(data.train_x, task, f"task.shape={list(task.shape)}")
    if task.layout != data.task.layout:
        raise ConfigError(f"task.layout={task.layout}: the data are {data.task.layout} inputs")
    if task.kind != data.task.kind:
        raise ConfigError(f"task.kind={task.kind}: the data hold {data.task.kind}")
    if not task.classified:
        return _declared_targets(task, data)
    highest = int(max(data.train_y.max(initial=0), data.test_y.max(initial=0)))
    if len(task.labels) < 2 or highest >= task.classes:
        raise ConfigError(f"task.labels={list(task.labels)}: the data have class {highest}")
    return task


UNTITLED = "table"  # a task's name where nobody gives it one: never that of a site's file


def _of_table(config: Declared, data: DataSet) -> Task:
    """Return the task of a declared table."""
    if not config.columns:
        raise ConfigError(
            "task.columns={}: a table needs them, alike at every site; qsynth task init FILE "
            "proposes them"
        )
    if not data.task.columns:
        raise ConfigError("task.columns: are of a table, and the data are none: data=table")
    for key in ("shape", "location", "scale"):
        if getattr(config, key):
            raise ConfigError(f"task.{key}={list(getattr(config, key))}: task.columns say it")
    made = task_of_columns(
        config.title or UNTITLED,
        config.labels,
        config.described(),
        config.kind,
        config.label,
        config.version,
    )
    units = config.target_location, config.target_scale
    told = as_texts(config.missing)
    return replace(
        made, missing=told, target_location=tuple(units[0]), target_scale=tuple(units[1])
    )


def _of_inputs(config: Declared) -> Task:
    return Task(
        name=config.title,
        version=config.version,
        labels=tuple(config.labels),
        layout=config.layout,
        shape=tuple(config.shape),
        units=config.units,
        low=config.low,
        high=config.high,
        location=tuple(config.location),
        scale=tuple(config.scale),
        invariances=tuple(config.invariances),
        kind=config.kind,
        target_location=tuple(config.target_location),
        target_scale=tuple(config.target_scale),
    )
