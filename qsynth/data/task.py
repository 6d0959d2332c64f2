"""The options of the group `task`: the data's own, or one that is declared in full."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from qsynth.data.columns import ColumnSettings, column_settings
from qsynth.schema import option, setting
from qsynth.types import AXES, CLASSES, INVARIANCES, LABELS, VALUES

KINDS = (CLASSES, LABELS, VALUES)


def as_texts(values: Iterable[str | float]) -> tuple[str, ...]:
    """Return texts and numbers as texts, each once: -9 and -9.0 are -9."""
    whole = (int(v) if isinstance(v, float) and v.is_integer() else v for v in values)
    return tuple(dict.fromkeys(map(str, whole)))


@option("task")
@dataclass(frozen=True)
class FromData:
    """Take the task that the data option declares."""

    name: str = setting("from_data", "the option's name", choices=("from_data",))
    version: int = setting(1, "raise it whenever the meaning of inputs or labels changes", low=1)
    invariances: tuple[str, ...] = setting(
        [], "that leave labels what they are", choices=INVARIANCES
    )


@option("task")
@dataclass(frozen=True)
class Declared:
    """Declare the task in full; the data must fit it."""

    name: str = setting("declared", "the option's name", choices=("declared",))
    title: str = setting("", "the task's name")
    version: int = setting(1, "raise it whenever the meaning of inputs or labels changes", low=1)
    labels: tuple[str, ...] = setting([], "names in the order of class indices", distinct=True)
    layout: str = setting("vector", "of inputs", choices=tuple(AXES))
    shape: tuple[int, ...] = setting([], "of one input")
    units: str = setting("", "of inputs")
    low: float = setting(0.0, "of inputs' range")
    high: float = setting(1.0, "of inputs' range")
    location: tuple[float, ...] = setting([], "of each feature of a vector; empty: 0")
    scale: tuple[float, ...] = setting([], "of each feature of a vector; empty: 1")
    kind: str = setting("classes", "of what is told of an input", choices=KINDS)
    target_location: tuple[float, ...] = setting([], "of each value; empty: 0")
    target_scale: tuple[float, ...] = setting([], "of each value; empty: 1")
    invariances: tuple[str, ...] = setting(
        [], "that leave labels what they are", choices=INVARIANCES
    )
    columns: dict[str, Any] = setting(
        {},
        "of a table, by name: kind (number, date, category), location and scale of a number or "
        "date, levels of a category, and indicated: true where missing is a feature of its own",
    )
    label: str = setting("", "the column of a table that holds the class")
    missing: tuple[str | float, ...] = setting(
        [], "of a table: texts and numbers that stand for nothing, beside the usual ones"
    )
    rows: int = setting(
        0, "of the tables that proposed all this; what is merged is weighed", low=0, high=10**12
    )

    def check(self) -> None:
        """Raise ConfigError where a column is not described rightly."""
        self.described()

    def described(self) -> dict[str, ColumnSettings]:
        """Return what is said of each column, in the order of their names."""
        return column_settings(self.columns)


TASK_OPTIONS: dict[str, type] = {"from_data": FromData, "declared": Declared}
