"""The data option `table`: CSV, Parquet or Feather, one row a sample, one file or column a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from qsynth.data.arrays import in_units
from qsynth.data.base import DataOptions
from qsynth.data.columns import (
    FAR,
    KINDS,
    ColumnSettings,
    arrow,
    column_of,
    differing_sites,
    encoded,
    indices_of,
    numbers_of,
    of_fractions,
    proposed,
    texts_of,
)
from qsynth.data.dataset import DataSet, split_test
from qsynth.data.rows import SHOWN, Rows, absent_classes, names_in, shown_names
from qsynth.data.samples import check_classes, targets
from qsynth.data.table_file import FILE, TableFile, stem_of
from qsynth.data.task import Declared, FromData, as_texts
from qsynth.errors import ConfigError, DataError, nearest_spelling
from qsynth.schema import option, setting, unknown
from qsynth.types import CATEGORY, CLASSES, LABELS, NUMBER, VALUES, Flags, Floats, Ints, Task

MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null")
MANY_LABELS = 1_000
SPAN = 4.0  # scales around the location that are a feature's range


@option("data")
@dataclass(frozen=True)
class Table(DataOptions):
    """A table: CSV, Parquet or Feather; in a folder of them, each file is a site."""

    name: str = setting("table", "the option's name", choices=("table",))
    path: str = setting("", "of the file, or of a folder with a file for each site")
    label: str | tuple[str, ...] = setting(
        "", "the column that holds what is learned; of several labels or values, a list"
    )
    site: str = setting("", "the column that says whose row it is; empty: none, or the file")
    kind: str = setting(
        "classes",
        "of the label: a class, 0 or 1 in each of several columns, or numbers",
        choices=(CLASSES, LABELS, VALUES),
    )
    labels: tuple[str, ...] = setting(
        [], "classes in the order of their indices; empty: those of the column", distinct=True
    )
    label_map: dict[str, str] = setting(
        {}, "the task's label for each of this site's own, where task=declared names them otherwise"
    )
    leave_out: tuple[str, ...] = setting([], "columns that are not looked at", distinct=True)
    kinds: dict[str, str] = setting(
        {}, "of columns that are not what they seem: number, date or category"
    )
    names: tuple[str, ...] = setting(
        [], "of the columns of a CSV without a first line that names them", distinct=True
    )
    missing: tuple[str | float, ...] = setting(
        [], "texts and numbers that stand for nothing, beside an empty cell, ?, NA, NaN and null"
    )
    encoding: str = setting("utf8", "of the letters of a CSV: utf8, latin1, cp1252, ...")
    indicate: bool = setting(
        False, "where a column lacks values, one more feature says where; task=declared says so"
    )
    test_share: float = setting(0.25, "kept for the test", low=0.05, high=0.9)
    ends: tuple[int, ...] = setting(
        [],
        "usable rows after each batch that came, each split into training and test by itself; "
        "later ones are not looked at; empty: all rows, in one batch",
        low=1,
    )
    batch_size: int = setting(16, "own training samples a step", low=1)

    early: ClassVar[bool] = True
    recipe: ClassVar[str] = "table"

    def check(self) -> None:
        """Raise ConfigError where a column is said to be of no kind."""
        for name, kind in self.kinds.items():
            if kind not in KINDS:
                raise unknown(f"data.kinds.{name}", kind, "no such kind", kind, KINDS)
        if list(self.ends) != sorted(set(self.ends)):
            raise ConfigError(
                f"data.ends={list(self.ends)}: each must be larger than the one before"
            )

    def usable_rows(self, task: FromData | Declared) -> int:
        """Return how many rows there are by now.

        Raises DataError where they cannot be read, or the last one is still being written, and
        ConfigError where a file cannot grow.
        """
        if not isinstance(task, Declared):
            raise ConfigError(
                "growth=file: needs task=declared, which says what rows are that come later: "
                "qsynth task init FILE"
            )
        file = self.file((), {})
        if file.of_folder:
            raise ConfigError(f"growth=file: data.path={self.path} must be one file, not a folder")
        file.check_whole()
        return len(self.read(task).kept)

    def ended(self, ends: Sequence[int]) -> Table:
        """Return the data of which no more rows are looked at than there were after each batch."""
        return replace(self, ends=tuple(ends))

    def load(self) -> DataSet:
        """Return the rows of a table whose label is known; columns say what they hold."""
        return self._load((), None)

    def load_for(self, task: Declared) -> DataSet:
        """Return the same as a declared task describes its columns."""
        # A site that maps its own labels has other names than the task's.
        return self._load(() if self.label_map else tuple(task.labels), task)

    def source(self) -> str:
        """Return what a message calls the data: its file."""
        return str(Path(self.path).expanduser())

    def mapped(self) -> dict[str, str]:
        """Return the declared task's label for each of the data's own that has another name."""
        return self.label_map

    def answers(self, task: Declared | None) -> tuple[str, ...]:
        """Return the columns that hold what is learned: as said here, or by the task."""
        own = (self.label,) if isinstance(self.label, str) else tuple(self.label)
        own = tuple(name for name in own if name)
        if not own and task is not None:
            own = (task.label,) if task.kind == CLASSES else tuple(task.labels)
        return tuple(name for name in own if name)

    def file(
        self,
        answers: Sequence[str],
        columns: Mapping[str, Any],
        missing: Sequence[str | float] = (),
    ) -> TableFile:
        """Return the files, and how they are read.

        answers: the columns that hold what is learned.  columns: of a task, by name, with `kind`.
        missing: what stands for nothing, as a task says.  Names of classes, levels and sites are
        texts, whatever they look like: 01 is not 1.
        """
        texts = [name for name, each in columns.items() if each.kind == CATEGORY]
        texts += [name for name, kind in self.kinds.items() if kind == CATEGORY]
        texts += answers if self.kind == CLASSES else ()
        texts += [self.site] if self.site else []
        return TableFile(
            self.path,
            "data.path",
            (*MISSING, *as_texts((*self.missing, *missing))),
            tuple(self.names),
            tuple(dict.fromkeys(texts)),
            self.encoding,
            bool(self.ends),
        )

    def read(self, task: Declared | None) -> Rows:
        """Return the rows that can be used, with what was dropped and why.  Raises DataError."""
        described = task.described() if task is not None else {}
        nothing = task.missing if task is not None else ()
        file = self.file(self.answers(task), described, nothing)
        table, notes = file.read(self.leave_out)
        for name in (*self.kinds, self.site):
            if name and name not in table.column_names:
                key = "data.site" if name == self.site else "data.kinds"
                raise self._no_column(key, name, table)
        answers = self.answers(task)
        if not answers:
            raise DataError(
                f"data.label=: which column is to be learned? {shown_names(table.column_names)}"
            )
        for name in answers:
            if name not in table.column_names:
                raise self._no_column("data.label", name, table)
        site = self.site or (FILE if file.of_folder else "")
        kept = np.ones(table.num_rows, bool)
        for name in (*answers, site) if site else answers:
            missing = np.asarray(table[name].is_null())
            if missing.any():
                what = "site" if name == site else "label"
                count = int(missing.sum())
                left_out = "row is left out" if count == 1 else "rows are left out"
                notes.append(f"{count} {left_out}: no {what} in column {name}")
            kept &= ~missing
            if not kept.any():
                raise DataError(f"data.path={self.path}: no row is left with a value in {name}")
        places = file.places(table)[kept]
        if not kept.all():
            table = table.filter(arrow.array(kept))
        return Rows(table, answers, site, places, notes)

    def columns(
        self, rows: Rows, declared: Declared | None, least: int = 1, part: Flags | None = None
    ) -> dict[str, ColumnSettings]:
        """Return the columns that inputs are made of: as a task declares, or as they seem.

        least: rows that a level of a category must have.  part: (n,) of the rows, that units are
        taken of; None: all.  What is left out is added to the notes.
        """
        if declared is not None and declared.columns:
            return declared.described()
        made, left_out = proposed(rows.table, rows.inputs(), self.kinds, self.indicate, least, part)
        rows.notes.extend(left_out)
        if not made:
            why = f" ({left_out[0]})" if left_out else ""
            raise DataError(f"data.path={self.path}: no column is left to learn from{why}")
        return made

    def _no_column(self, key: str, name: str, table: Any) -> DataError:
        names = table.column_names
        said = nearest_spelling(name, names) or f"; it has {shown_names(names)}"
        return DataError(f"{key}={name}: data.path={self.path} has no such column{said}")

    def _load(self, names: tuple[str, ...], declared: Declared | None) -> DataSet:
        rows = self.read(declared)
        if self.ends:
            self._cut(rows, declared)
        labels, task_labels = self._labels(rows, names)
        site = rows.sites()
        strata = labels if self.kind == CLASSES else np.zeros(len(labels), np.int64)
        train, test = split_test(strata, site, self.test_share, self.ends)
        columns = self.columns(rows, declared, part=train)
        said = self._read_note(rows, columns, site)
        sites = names_in(rows.table[rows.site]) if rows.site else ()
        values = {name: column_of(rows.table, name, self._source_of()) for name in columns}
        rows.table = None  # its columns are freed one by one
        (train_x, test_x), told = encoded(
            values, columns, (train, test), lambda row: int(rows.kept[row])
        )
        told += differing_sites(columns, train_x, site[train], sites)
        if self.kind == CLASSES:
            told += absent_classes(task_labels, labels, site, sites)
        task = task_of_columns(self.own_name(), task_labels, columns, self.kind, rows.answers[0])
        task = replace(task, missing=as_texts(self.missing))
        if self.kind == VALUES:
            task = _with_units(task, labels, self._source_of())
        if task.classified:
            said += f"; classes {shown_names(task.labels)}"
        return in_units(
            DataSet(
                task,
                train_x,
                labels[train],
                test_x,
                labels[test],
                site[train],
                site[test],
                notes=(said, *rows.notes, *told),
                test_rows=rows.kept[test],
                site_names=sites,
                train_batch=self._batches(train),
                test_batch=self._batches(test),
            )
        )

    def _cut(self, rows: Rows, declared: Declared | None) -> None:
        """Leave the rows that had come by the last batch.  Raises DataError."""
        if declared is None and len(self.ends) > 1:
            raise DataError("data.ends: batches need task=declared: qsynth task init FILE")
        last = self.ends[-1]
        if last > len(rows.kept):
            raise DataError(
                f"data.ends={list(self.ends)}: data.path={self.path} has {len(rows.kept)} usable "
                "rows; rows may be added to a file that grows, and none taken away"
            )
        rows.table, rows.kept = rows.table.slice(0, last), rows.kept[:last]

    def _batches(self, part: Flags) -> Ints | None:
        """Return in which batch each row of a part came; None where there is one."""
        if len(self.ends) < 2:
            return None
        made: Ints = np.searchsorted(self.ends, np.flatnonzero(part), side="right")
        return made

    def own_name(self) -> str:
        """Return the table's own name: the task's, and the run's, where nothing else is said."""
        return stem_of(Path(self.path).expanduser().resolve()) if self.path else self.name

    def _source_of(self) -> str:
        return f"data.path={self.path}"

    def _labels(self, rows: Rows, names: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
        """Return (n,) class indices or (n, K) targets, and the names of the labels."""
        if self.kind != CLASSES:
            told = [numbers_of(rows.table[name], name, NUMBER) for name in rows.answers]
            made = targets(np.stack(told, axis=1), self.kind, self._source_of())
            return made, tuple(self.labels) or names or rows.answers
        column = rows.table[rows.answers[0]]
        if len(rows.answers) > 1:
            raise DataError(
                f"data.label=[{','.join(rows.answers)}]: one column holds the class; of several "
                "labels say data.kind=labels, of numbers data.kind=values"
            )
        if of_fractions(column):
            raise DataError(
                f"data.label={rows.answers[0]}: holds numbers with fractions: data.kind=values"
            )
        return self._indices(column, tuple(self.labels) or names, rows)

    def _indices(
        self, column: Any, names: tuple[str, ...], rows: Rows
    ) -> tuple[Ints, tuple[str, ...]]:
        """Return (n,) class indices of a column, and the names of the classes."""
        key = f"data.label={rows.answers[0]}"
        there = names_in(column)
        if not names and len(there) > min(MANY_LABELS, max(2, len(column) // 3)):
            raise DataError(
                f"{key}: {len(there)} values in {len(column)} rows: no class, as it seems; a "
                "number to be learned is data.kind=values"
            )
        names = names or there
        made = indices_of(column, names)
        if (made < 0).any():
            first = int((made < 0).argmax())
            name = texts_of(column)[first].as_py()
            raise DataError(
                f"{key}: row {int(rows.kept[first])} holds {name!r}, no label of the task"
                f"{nearest_spelling(name, names)}; other names for the same: data.label_map"
            )
        if len(names) < 2:
            raise DataError(
                f"{key}: holds {names[0]!r} in every row; two classes are needed: "
                "data.labels=[...] names those that other sites have"
            )
        check_classes(len(names) - 1, len(column), self._source_of())
        return made, names

    def _read_note(self, rows: Rows, columns: Mapping[str, ColumnSettings], site: Ints) -> str:
        """Return what was read, in words."""
        features = sum(each.column(name).width for name, each in columns.items())
        said = f"{self.source()}: {len(site)} rows, {len(columns)} columns, {features} features"
        if not rows.site:
            return said + "; one site (others: data.site=COLUMN, or a folder with a file for each)"
        counts = np.bincount(site)
        names = names_in(rows.table[rows.site])[:SHOWN]
        shown = ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=False))
        more = ", ..." if len(counts) > SHOWN else ""
        return f"{said}; {len(counts)} site{'s' * (len(counts) > 1)} ({shown}{more})"


def task_of_columns(
    name: str,
    labels: Sequence[str],
    columns: Mapping[str, ColumnSettings],
    kind: str,
    label: str,
    version: int = 1,
) -> Task:
    """Return the task of a table with these columns."""
    pairs = [each.units() for each in columns.values()]
    location = np.array([place for places, _ in pairs for place in places])
    scale = np.array([spread for _, spreads in pairs for spread in spreads])
    return Task(
        name=name,
        version=version,
        labels=tuple(labels),
        layout="vector",
        shape=(len(location),),
        units="columns",
        low=float((location - SPAN * scale).min()),
        high=float((location + SPAN * scale).max()),
        location=tuple(location.tolist()),
        scale=tuple(scale.tolist()),
        kind=kind,
        columns=tuple(each.column(column) for column, each in columns.items()),
        label=label if kind == CLASSES else "",
    )


def _with_units(task: Task, values: Floats, source: str) -> Task:
    place, spread = (made(values.astype(np.float64), axis=0) for made in (np.mean, np.std))
    if (spread <= 0.0).any():
        flat = task.labels[int((spread <= 0.0).argmax())]
        raise DataError(f"{source}: {flat} is the same in every row: there is nothing to learn")
    if (np.abs(place) > FAR * spread).any():
        far = task.labels[int((np.abs(place) > FAR * spread).argmax())]
        raise DataError(
            f"{source}: {far} is too far from 0 for its spread: single precision cannot tell its "
            "values apart; subtract a constant from it"
        )
    return replace(task, target_location=tuple(place.tolist()), target_scale=tuple(spread.tolist()))
