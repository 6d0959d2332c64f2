"""Columns of a table: what each holds, and the features that they become.

Every site makes the same features of the same columns, in the order of the columns' names; nothing
but the task says how.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsynth.errors import ConfigError, DataError, nearest_spelling
from qsynth.lazy import Deferred
from qsynth.schema import build, setting
from qsynth.types import CATEGORY, DATE, NUMBER, Column, Flags, Floats, Floats32, Ints

arrow = Deferred("pyarrow")
compute = Deferred("pyarrow.compute")
KINDS = (NUMBER, DATE, CATEGORY)
MOST_LEVELS = 50  # of a category that nobody has named one
WHOLE = r"^[-+]?\d{1,18}(\.0*)?$"
NUMERIC = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
MOSTLY = 0.8  # of the rows hold numbers: the others are likely to stand for nothing
DAY_US = 86_400 * 10**6
MOST = 1e30  # of a number: squares of it are still numbers
FAR = 1e5  # spreads from 0: single precision tells a hundredth of a spread no more
APART = 5.0  # spreads that two means are apart, where they may be in other units
WIDER = 8.0  # times that one spread is another, likewise
LEAST_COMPARED = 20  # rows
HALF = 0.5  # location and scale of what is 0 or 1: it becomes -1 or 1


@dataclass(frozen=True)
class ColumnSettings:
    """What a declared task says of a column."""

    kind: str = setting(NUMBER, "what it holds", choices=KINDS)
    levels: tuple[str, ...] = setting([], "of a category, in the order of features", distinct=True)
    indicated: bool = setting(False, "whether one more feature says that it is missing")
    location: float = setting(
        0.0, "of a number or date; it stands for a missing one", low=-1e30, high=1e30
    )
    scale: float = setting(1.0, "of a number or date", low=1e-30, high=1e30)

    def column(self, name: str) -> Column:
        """Return the column that is described."""
        return Column(name, self.kind, self.levels, self.indicated)

    def units(self) -> tuple[list[float], list[float]]:
        """Return the location and the scale of each of its features."""
        places, spreads = [self.location], [self.scale]
        if self.kind == CATEGORY:
            places, spreads = [HALF] * len(self.levels), [HALF] * len(self.levels)
        return places + [HALF] * self.indicated, spreads + [HALF] * self.indicated


def column_settings(given: Mapping[str, Any]) -> dict[str, ColumnSettings]:
    """Return typed settings of columns, in the order of their names.  Raises ConfigError."""
    made = {}
    for name in sorted(given):
        key, values = f"task.columns.{name}", given[name]
        if not isinstance(values, Mapping):
            raise ConfigError(f"{key}={values}: must be a mapping, e.g. {{kind: number}}")
        made[name] = build(ColumnSettings, values, key)
        if (made[name].kind == CATEGORY) != bool(made[name].levels):
            raise ConfigError(
                f"{key}.levels={list(made[name].levels)}: a category has levels, no other"
            )
        if abs(made[name].location) > FAR * made[name].scale:
            raise ConfigError(f"{key}.location={made[name].location:g}: {_far(made[name].scale)}")
    return made


def _far(scale: float) -> str:
    return (
        f"is too far from 0 for a spread of {scale:g}: single precision cannot tell its values "
        "apart; subtract a constant from the column"
    )


def proposed(
    table: Any,
    names: Sequence[str],
    kinds: Mapping[str, str],
    indicate: bool,
    least: int = 1,
    part: Flags | None = None,
) -> tuple[dict[str, ColumnSettings], list[str]]:
    """Return what the columns of one table seem to hold, and what was left out and why.

    table: of pyarrow.  names: of its columns that inputs are made of.  kinds: said by the user.
    indicate: whether missing is a feature, where something is.  least: rows that a level of a
    category, and known values that a number, must have.  part: (n,) of the rows, that location and
    scale are taken of; None: all.  Raises DataError.
    """
    made, notes = {}, []
    for name in names:
        values = table[name]
        kind = kinds.get(name) or _seeming(values)
        missing = values.null_count
        if kind is None or missing == len(values):
            why = "nothing stands in it" if missing == len(values) else _text_note(values, name)
            notes.append(f"column {name} is left out: {why}")
            continue
        indicated = indicate and missing > 0
        if kind == CATEGORY:
            levels = _levels(values, least)
            if not levels or (len(levels) == 1 and not missing):
                why = f"it is {levels[0]} in every row" if levels else f"no level has {least} rows"
                notes.append(f"column {name} is left out: {why}")
                continue
            made[name] = ColumnSettings(CATEGORY, levels, indicated)
            continue
        told = numbers_of(values, name, kind)
        _check_infinite(told, values, name)
        known = told[np.isfinite(told) & (True if part is None else part)]
        if len(known) < max(1, least):
            notes.append(f"column {name} is left out: {len(known)} rows hold something")
            continue
        place, spread = float(known.mean()), float(known.std())
        if spread <= 1e-12 * max(1.0, abs(place)):
            notes.append(f"column {name} is left out: it is {known[0]:g} in every row")
        elif abs(place) > FAR * spread:
            notes.append(f"column {name} is left out: {place:g} {_far(spread)}")
        else:
            made[name] = ColumnSettings(kind, (), indicated, place, spread)
    return made, notes


def encoded(
    values: dict[str, Any],
    columns: Mapping[str, ColumnSettings],
    parts: Sequence[Flags],
    row: Callable[[int], int] = int,
) -> tuple[list[Floats32], list[str]]:
    """Return the features of the rows of each part, and what was missing or not known.

    values: of pyarrow, by the column's name; each is taken out once it has been read, so that its
    memory is free.  parts: (n,) masks of rows.  row: gives a row's place in the file.  Raises
    DataError where a column is of another kind.
    """
    widths = {name: each.column(name).width for name, each in columns.items()}
    made = [np.empty((int(part.sum()), sum(widths.values())), np.float32) for part in parts]
    notes, at = [], 0
    for name, each in columns.items():
        column = values.pop(name)
        count, missing = len(column), np.asarray(column.is_null())
        lacking = int(missing.sum())
        if each.kind == CATEGORY:
            place = indices_of(column, each.levels)
            told = place[:, None] == np.arange(len(each.levels))
            strange = int((place < 0).sum()) - lacking
            if strange:
                notes.append(f"column {name}: {strange} rows hold a level that the task has not")
        else:
            numbers = numbers_of(column, name, each.kind, row)
            _check_infinite(numbers, column, name, row)
            numbers[missing | np.isnan(numbers)] = each.location
            told = numbers[:, None]
        if each.indicated:
            told = np.concatenate([told, missing[:, None]], axis=1)
        elif lacking:
            stands = "no level" if each.kind == CATEGORY else f"{each.location:g}"
            notes.append(
                f"column {name}: {lacking} of {count} rows are missing, taken for {stands}"
            )
        for into, part in zip(made, parts, strict=True):
            into[:, at : at + widths[name]] = told[part]
        at += widths[name]
    return made, notes


def other_units(one: tuple[float, float], other: tuple[float, float]) -> str:
    """Return how two means and spreads differ so much that units may; "" where they do not."""
    less, more = sorted((one[1], other[1]))
    apart = abs(one[0] - other[0]) > APART * more
    if more < WIDER * less and not apart:
        return ""
    return f"mean {one[0]:.4g} and {other[0]:.4g}, spread {one[1]:.4g} and {other[1]:.4g}"


def differing_sites(
    columns: Mapping[str, ColumnSettings], inputs: Floats32, site: Ints, names: Sequence[str]
) -> list[str]:
    """Return which sites' numbers differ so much from the others' that their units may.

    inputs: (n, features).  site: (n,) whose each is.  names: of the sites; none: there is one.
    """
    made, at = [], 0
    for name, each in columns.items():
        if each.kind == NUMBER and len(names) > 1:
            values = [inputs[site == one, at].astype(np.float64) for one in range(len(names))]
            told = np.array([(v.mean(), v.std()) if len(v) else (np.nan,) * 2 for v in values])
            usual = np.nanmedian(told, axis=0)
            for whose, (place, spread), rows in zip(names, told, values, strict=True):
                if len(rows) < LEAST_COMPARED or spread <= 0.0 or usual[1] <= 0.0:
                    continue
                strange = other_units((usual[0], usual[1]), (place, spread))
                if strange:
                    made.append(f"column {name}: other units? most sites and {whose}: {strange}")
        at += each.column(name).width
    return made


def column_of(table: Any, name: str, source: str) -> Any:
    """Return a column that the task needs.  Raises DataError where there is none."""
    if name not in table.column_names:
        known = nearest_spelling(name, table.column_names)
        raise DataError(f"{source}: has no column {name}, which the task needs{known}")
    return table[name]


def numbers_of(values: Any, name: str, kind: str, row: Callable[[int], int] = int) -> Floats:
    """Return (n,) numbers, or days since 1970; NaN where one is missing.  Raises DataError."""
    types = arrow.types
    try:
        if types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if types.is_string(values.type):
            values = compute.utf8_trim_whitespace(values)
        if kind == DATE:
            return _as_floats(_moments(values).cast(arrow.int64())) / DAY_US
        if types.is_boolean(values.type):
            values = values.cast(arrow.int8())
        return _as_floats(values.cast(arrow.float64(), safe=False))
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        at, shown = _first_wrong(values, kind)
        raise DataError(
            f"column {name} is no {kind}: row {row(at)} holds {shown!r}; if that stands for "
            f"nothing, data.missing=[{shown}] says so; else data.kinds.{name}=category"
        ) from None


def _moments(values: Any) -> Any:
    """Return dates, times and texts of them as microseconds since 1970, in UTC."""
    types, exact = arrow.types, arrow.timestamp("us")
    if types.is_timestamp(values.type) or types.is_date(values.type):
        return values.cast(arrow.timestamp("us", getattr(values.type, "tz", None)), safe=False)
    texts = values.cast(arrow.string())
    try:
        return compute.replace_substring_regex(texts, r"[Zz]$", "").cast(exact)
    except arrow.ArrowInvalid:
        return texts.cast(arrow.timestamp("us", "UTC"))


def _as_floats(values: Any) -> Floats:
    made = np.asarray(values.combine_chunks() if hasattr(values, "combine_chunks") else values)
    floats: Floats = np.array(made, np.float64)
    if values.null_count:
        floats[np.asarray(values.is_null())] = np.nan
    return floats


def _first_wrong(values: Any, kind: str) -> tuple[int, str]:
    """Return the first row that is not of a kind, and what stands there."""
    for row, value in enumerate(values):
        if not value.is_valid:
            continue
        try:
            text = arrow.array([str(value)])
            _moments(text) if kind == DATE else text.cast(arrow.float64())
        except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
            return row, str(value)[:40]
    return 0, str(values.type)


def _check_infinite(told: Floats, values: Any, name: str, row: Callable[[int], int] = int) -> None:
    bad = np.abs(told) > MOST  # not of what is missing: NaN is no more than anything
    if bad.any():
        at = int(bad.argmax())
        raise DataError(
            f"column {name} holds {values[at]} in row {row(at)}: must be a finite number, {MOST:g} "
            "at most"
        )


def _seeming(values: Any) -> str | None:
    """Return what a column seems to hold; None: neither numbers, dates nor few levels."""
    types, kind = arrow.types, values.type
    if types.is_timestamp(kind) or types.is_date(kind):
        return DATE
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return NUMBER
    if types.is_decimal(kind):
        return NUMBER
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind)):
        return None
    many = len(compute.unique(values))
    return CATEGORY if many <= min(MOST_LEVELS, max(2, len(values) // 2)) else None


def _text_note(values: Any, name: str) -> str:
    types = arrow.types
    if types.is_nested(values.type) or types.is_binary(values.type):
        return f"it holds {values.type}, neither numbers, dates nor texts"
    try:
        many = len(compute.unique(values))
        texts_of(values)
    except (arrow.ArrowNotImplementedError, DataError):
        return f"it holds {values.type}, neither numbers, dates nor texts"
    numbers = compute.match_substring_regex(texts_of(values), NUMERIC)
    if compute.mean(numbers.cast(arrow.float64())).as_py() > MOSTLY:
        row = int(np.asarray(compute.fill_null(numbers, True)).argmin())
        return (
            f"it holds numbers, but row {row} holds {str(values[row])[:40]!r}; if that stands for "
            f"nothing, data.missing=[{str(values[row])[:40]}]"
        )
    return (
        f"{many} different values in {len(values)} rows ({values.type}); "
        f"data.kinds.{name}=category takes it all the same"
    )


def texts_of(values: Any) -> Any:
    """Return a column as text: whole numbers without a fraction.  Raises DataError."""
    types = arrow.types
    try:
        if types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if types.is_floating(values.type) and _whole(values):
            values = values.cast(arrow.int64())
        return values.cast(arrow.string())
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        raise DataError(f"a column holds {values.type}, which is no text") from None


def _whole(values: Any) -> bool:
    known = _as_floats(values)
    known = known[np.isfinite(known)]
    return bool((known == np.rint(known)).all() and (np.abs(known) < 2**53).all())


def _levels(values: Any, least: int) -> tuple[str, ...]:
    counted = compute.value_counts(texts_of(values).combine_chunks()).to_pylist()
    return tuple(
        sorted(one["values"] for one in counted if one["values"] and one["counts"] >= least)
    )


def of_fractions(values: Any) -> bool:
    """Return whether a column holds numbers, and some that are not whole."""
    texts = texts_of(values).unique()
    numbers = compute.match_substring_regex(texts, NUMERIC)
    whole = compute.match_substring_regex(texts, WHOLE)
    return bool(compute.all(numbers).as_py()) and not bool(compute.all(whole).as_py())


def indices_of(values: Any, names: Sequence[str]) -> Ints:
    """Return (n,) which of the names a column's text is, -1 where it is none of them.

    A number is found in another writing as well: 1.0 is 1, and True is true.
    """
    texts = texts_of(values)
    known = arrow.array(list(names), arrow.string())
    found = compute.fill_null(compute.index_in(texts, value_set=known), -1)
    made = np.array(found, np.int64)
    strange = np.flatnonzero(made < 0)
    place = {canonical(name): index for index, name in enumerate(names)}
    if len(strange) and len(place) == len(names):
        others = texts.take(arrow.array(strange))
        each = {
            text: place.get(canonical(text), -1) for text in others.unique().to_pylist() if text
        }
        if any(index >= 0 for index in each.values()):
            made[strange] = [each.get(text, -1) for text in others.to_pylist()]
    return made


def canonical(text: str) -> str:
    """Return a text in the one writing of its number or truth value; others as they are."""
    plain = text.strip()
    if plain.lower() in ("true", "false"):
        return plain.lower()
    if not re.match(WHOLE, plain):
        return text
    return str(int(plain.split(".")[0]))
