"""The usable rows of a table: whose each is, what it is called, and which classes a site lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsynth.data.columns import canonical, indices_of, texts_of
from qsynth.data.table_file import FILE
from qsynth.types import Ints

SHOWN = 8  # names, in words


@dataclass
class Rows:
    """The usable rows of a table.

    table: of pyarrow.  answers: the columns that hold what is learned.  site: the column that says
    whose a row is, or "".  kept: (n,) their rows in their file.  notes: what was dropped, and why.
    """

    table: Any
    answers: tuple[str, ...]
    site: str
    kept: Ints
    notes: list[str]

    def inputs(self) -> list[str]:
        """Return the columns that inputs can be made of."""
        return sorted(set(self.table.column_names) - {*self.answers, self.site, FILE})

    def sites(self) -> Ints:
        """Return (n,) site indices, in the order of the sites' names; 0 where there is one."""
        if not self.site:
            return np.zeros(self.table.num_rows, np.int64)
        column = self.table[self.site]
        return indices_of(column, names_in(column))


def absent_classes(
    labels: Sequence[str], found: Ints, site: Ints, names: Sequence[str]
) -> list[str]:
    """Return which sites have no row of some classes, in words."""
    made = []
    for at, name in enumerate(names):
        there = np.bincount(found[site == at], minlength=len(labels))
        lacking = [label for label, count in zip(labels, there, strict=True) if not count]
        if lacking:
            made.append(f"{name} has no row of {shown_names(lacking)}")
    shown = made[:SHOWN]
    return shown + [f"and {len(made) - len(shown)} more sites lack a class"] * (
        len(made) > len(shown)
    )


def names_in(column: Any) -> tuple[str, ...]:
    """Return the texts that a column holds, whole numbers first and in their order."""
    texts = texts_of(column).unique().to_pylist()
    if all(canonical(text) == text.split(".")[0] for text in texts):
        texts = sorted({canonical(text) for text in texts})  # 1.0 is 1; 01 stays what it is
    return tuple(sorted(texts, key=_in_order))


def _in_order(name: str) -> tuple[int, float, str]:
    """Return a key by which whole numbers stand before other texts, and in their own order."""
    plain = name.removeprefix("-")
    return (0, float(name), name) if plain.isdecimal() else (1, 0.0, name)


def shown_names(names: Sequence[str]) -> str:
    """Return some names in words, the first of many."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
