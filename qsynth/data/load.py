"""Load the data set that a config names, with the task it declares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from qsynth.data import arrays, cifar10, digits, fmnist, module
from qsynth.data.arrays import in_units, units
from qsynth.data.config import Arrays, Cifar10, Declared, Digits, Fmnist, FromData
from qsynth.data.dataset import DataSet
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.types import VALUES, Task


def load_data(config: Any, task: FromData | Declared) -> DataSet:
    """Return the data set of a `data` config; its task is the data's own or the declared one."""
    loaders = {Digits: digits.load, Fmnist: fmnist.load, Cifar10: cifar10.load, Arrays: arrays.load}
    load: Any = loaders.get(type(config), module.load)
    data: DataSet = load(config)
    if getattr(config, "positives", ()):
        data = against_the_rest(data, tuple(config.positives))
    if getattr(config, "label_map", {}):
        data = renamed(data, config.label_map, task)
    if isinstance(task, FromData):
        named = replace(data.task, version=task.version, invariances=tuple(task.invariances))
    else:
        named = declared(task, data)
        if named.kind == VALUES:
            data = in_units(replace(_in_own_units(data), task=named))
    if named.invariances and named.layout != "image":
        raise ConfigError(f"task.invariances: for images, the data are {named.layout} inputs")
    return replace(data, task=named)


def _in_own_units(data: DataSet) -> DataSet:
    place, spread = units(data.task)
    return replace(data, train_y=data.train_y * spread + place, test_y=data.test_y * spread + place)


def _declared_targets(task: Task, data: DataSet) -> Task:
    count = data.train_y.shape[1]
    if len(task.labels) != count:
        raise ConfigError(f"task.labels={list(task.labels)}: the data have {count} targets")
    for key in ("target_location", "target_scale"):
        if len(getattr(task, key)) not in (0, count):
            raise ConfigError(f"task.{key}: needs one number a target, {count} in all")
    if any(value <= 0 for value in task.target_scale):
        raise ConfigError(f"task.target_scale={list(task.target_scale)}: must be positive")
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
    return replace(data, task=replace(data.task, labels=wanted), train_y=order[data.train_y],
                   test_y=order[data.test_y])  # fmt: skip


def declared(config: Declared, data: DataSet) -> Task:
    """Return the declared task.  Raises ConfigError where the data do not fit it."""
    task = Task(
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
    if task.shape != data.task.shape:
        raise ConfigError(f"task.shape={list(task.shape)}: the data have {list(data.task.shape)}")
    if task.layout != data.task.layout:
        raise ConfigError(f"task.layout={task.layout}: the data are {data.task.layout} inputs")
    if not task.low < task.high:
        raise ConfigError(f"task.high={task.high}: must be above task.low={task.low}")
    if task.kind != data.task.kind:
        raise ConfigError(f"task.kind={task.kind}: the data hold {data.task.kind}")
    for key in ("location", "scale"):
        length = len(getattr(task, key))
        if length not in (0, 1, int(np.prod(task.shape))):
            raise ConfigError(f"task.{key}: needs one number or one a feature, got {length}")
    if any(value <= 0 for value in task.scale):
        raise ConfigError("task.scale: must be above 0")
    if not task.classified:
        return _declared_targets(task, data)
    highest = int(max(data.train_y.max(initial=0), data.test_y.max(initial=0)))
    if len(task.labels) < 2 or highest >= task.classes:
        raise ConfigError(f"task.labels={list(task.labels)}: the data have class {highest}")
    return task
