"""The task that sites share, as a recipe: proposed by one, agreed on by all, checked by each.

A site proposes what its own table holds; `merged` makes one task of several proposals and says what
it had to decide.  A proposal tells others the names of columns and levels, and of each column its
mean and its spread; nothing else of any row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from qsynth.config.groups import plain_name
from qsynth.data.columns import ColumnSettings, other_units
from qsynth.data.images import SUFFIXES
from qsynth.data.table_file import is_table
from qsynth.data.task import Declared
from qsynth.encoder.config import Identity
from qsynth.errors import ConfigError, QsynthError, nearest_spelling, printable
from qsynth.recipe.inherit import read_yaml
from qsynth.recipe.lint import MAX_BYTES, lint_text, needed_trust
from qsynth.schema import build
from qsynth.types import CATEGORY, VALUES, Task

WIDE = 10**9  # a column stands on one line
LEAST_ROWS = 5  # that a level of a category has where it is told to others
DIGITS = 4  # of what is told
TABLE_TELLS = (
    f"It tells all labels, names of columns, levels of {LEAST_ROWS} rows or more, mean and spread "
    "of numbers, and how many rows there are."
)
MOST_NAME = 120  # letters
PLAIN = re.compile(r"^(override )?[A-Za-z_/][A-Za-z0-9_./@-]*$")
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf", "infinity"}
HEADER = """\
# The task that all sites share: what a row holds, and what is learned of it.
#
# What it shows: {title}, by {how}.
# {tells}
# A site checks that it fits, tries it, and joins with it:
#   qsynth task check {path} SITE.csv
#   qsynth run +recipe={path} data.path=FOLDER      (on one machine: a file for each site)
#   qsynth node up +recipe={path} data.path=SITE.csv mesh=tcp mesh.join=[tcp://HOST:7700]
"""


@dataclass
class Agreed:
    """A task for all, and what had to be decided to get there."""

    task: Declared
    decisions: list[str] = field(default_factory=list)


def proposal(task: Task, columns: Mapping[str, ColumnSettings], rows: int) -> Declared:
    """Return what a site proposes.  rows: of its table."""
    shared: dict[str, Any] = {
        "title": task.name,
        "version": task.version,
        "kind": task.kind,
        "labels": task.labels,
        "rows": rows,
    }
    if columns:
        told = {name: _told(each) for name, each in columns.items()}
        long = next((name for name in columns if len(name) > MOST_NAME), None)
        if long is not None:
            raise ConfigError(
                f"column {long[:40]}...: {len(long)} letters, {MOST_NAME} at most; rename it, or "
                "data.leave_out it"
            )
        shared |= {"label": task.label, "columns": told, "missing": task.missing}
    else:
        shared |= {
            "layout": task.layout,
            "shape": task.shape,
            "units": task.units,
            "low": task.low,
            "high": task.high,
        }
    if task.kind == VALUES:
        pairs = zip(task.target_location, task.target_scale, strict=True)
        shared["target_location"] = tuple(_near(place, spread) for place, spread in pairs)
        shared["target_scale"] = tuple(map(_rounded, task.target_scale))
    return Declared(**shared)


def _told(column: ColumnSettings) -> dict[str, Any]:
    """Return what a file says of a column."""
    made: dict[str, Any] = {"kind": column.kind}
    if column.kind == CATEGORY:
        made["levels"] = list(column.levels)
    else:
        made |= {"location": _near(column.location, column.scale), "scale": _rounded(column.scale)}
    return made | ({"indicated": True} if column.indicated else {})


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _near(place: float, spread: float) -> float:
    """Return a location to as many digits as its spread tells."""
    return round(place, DIGITS - 1 - math.floor(math.log10(spread)))


def read_task(path: Path, trusted: Sequence[str] = ()) -> Declared:
    """Return the task of a file.  Raises ConfigError or RecipeError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({said})") from None
    lint_text(text, str(path), frozenset(trusted))
    values = read_yaml(text).get("task")
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: has no task; qsynth task init FILE --label COLUMN makes one")
    values = {key: value for key, value in values.items() if key != "name"}
    return build(Declared, values, "task")


def features_of(task: Declared) -> int:
    """Return how many features the columns of a task make."""
    return sum(each.column(name).width for name, each in task.described().items())


def written(
    task: Declared,
    path: str,
    how: str,
    chosen_too: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> str:
    """Return the recipe of a task.  Raises ConfigError where it is too long for one.

    path: where it will stand.  how: what the task was made of.  chosen_too, more: options and
    settings beside the task's.
    """
    table = bool(task.columns)
    base = "table" if table else "pictures" if task.layout == "image" else "digits_mesh"
    chosen: list[Any] = [base, {"override /task": "declared"}]
    if table and features_of(task) > Identity().dimensions:
        chosen.append({"override /encoder": "seeded_fourier"})
    chosen += [{place: option} for place, option in (chosen_too or {}).items()]
    kept = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(task).items()
        if name != "name" and value not in ((), {}, "")
    }
    if table:
        kept = {k: v for k, v in kept.items() if k not in ("layout", "low", "high")}
        data = {} if task.kind == "classes" else {"data": {"kind": task.kind}}
    else:
        data = {}
    columns = kept.pop("columns", {})
    tells = TABLE_TELLS if table else "It tells names of labels, and shape and range of inputs."
    words = {"title": task.title, "how": how, "path": path}
    head = HEADER.format(tells=tells, **{k: printable(v)[:MOST_NAME] for k, v in words.items()})
    values = {"defaults": chosen, "name": plain_name(task.title), **data, **(more or {})}
    values["task"] = kept
    body = _dumped(values, None)
    if columns:
        body += "  columns:\n"
        for name in sorted(columns):
            key = _dumped({name: 0}, False).removesuffix(" 0\n")
            body += f"    {key} {_dumped(columns[name], True)}"
    if len((head + body).encode()) > MAX_BYTES:
        raise ConfigError(
            f"{path}: {len(columns)} columns take {len(body) // 1024} KiB, a recipe has at most "
            f"{MAX_BYTES // 1024}; leave columns out: data.leave_out=[...]"
        )
    text = head + body
    _check_written(text, task, path)
    return text


def _check_written(text: str, task: Declared, path: str) -> None:
    """Raise ConfigError where a name of the data cannot stand in a recipe, or reads otherwise."""
    try:
        values = lint_text(text, path, frozenset(needed_trust(text)))["task"]
        again = build(Declared, {k: v for k, v in values.items() if k != "name"}, "task")
        same = again.labels == task.labels and again.described() == task.described()
    except QsynthError as error:
        raise ConfigError(
            f"{path}: a name of the data cannot stand in a recipe ({error}); rename it, or "
            "data.leave_out the column"
        ) from None
    if not same:
        raise ConfigError(f"{path}: a name of the data reads otherwise in YAML; rename it")


def _dumped(values: Any, flow: bool | None) -> str:
    """Return YAML, each setting on a line; flow: as default_flow_style of PyYAML."""
    made: str = yaml.dump(
        values,
        Dumper=_Quoting,
        sort_keys=False,
        default_flow_style=flow,
        width=WIDE,
        allow_unicode=True,
    )
    return made


class _Quoting(yaml.SafeDumper):
    """Write text that anybody could take for something else in quotes: 1e5, yes, 2020-01-01."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = PLAIN.match(text) and text.lower() not in WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Quoting.add_representer(str, _quoted)


def merged(proposals: Sequence[tuple[str, Declared]]) -> Agreed:
    """Return one task of several proposals, and what had to be decided.  Raises ConfigError.

    proposals: what each is called, and what it says.
    """
    for source, task in proposals:
        if not task.labels:
            raise ConfigError(f"{source}: task.labels=[]: names none")
        units = len(task.target_location), len(task.target_scale)
        if task.kind == VALUES and units != (len(task.labels), len(task.labels)):
            raise ConfigError(f"{source}: task.target_location, task.target_scale: one a label")
    (first, base), rest = proposals[0], proposals[1:]
    for source, other in rest:
        for key in ("kind", "label", "layout", "shape", "units", "low", "high"):
            one, two = getattr(base, key), getattr(other, key)
            if one != two:
                hint = "; data.label_map and a column's name are a site's own to mend"
                raise ConfigError(
                    f"{source}: task.{key} is {two}, {first} has {one}: they must be alike"
                    + (hint if key == "label" else "")
                )
        if bool(base.columns) != bool(other.columns):
            raise ConfigError(f"{source}: one of {first} and {source} is of a table, one is not")
    said: list[str] = []
    labels = _labels(proposals, said)
    columns = _columns(proposals, said) if base.columns else {}
    titles = sorted({task.title for _, task in proposals})
    if len(titles) > 1:
        said.append(f"title: {base.title}, of {first} (others: {', '.join(titles)})")
    places, spreads = _targets(proposals)
    values: dict[str, Any] = {
        **{k: v for k, v in vars(base).items() if k != "name"},
        "version": max(task.version for _, task in proposals),
        "labels": labels,
        "columns": {name: _told(each) for name, each in columns.items()},
        "missing": tuple(dict.fromkeys(str(m) for _, task in proposals for m in task.missing)),
        "rows": sum(task.rows for _, task in proposals),
        "target_location": places,
        "target_scale": spreads,
    }
    return Agreed(Declared(**values), said)


def _labels(proposals: Sequence[tuple[str, Declared]], said: list[str]) -> tuple[str, ...]:
    """Return the labels that any site has, the first site's first."""
    _, base = proposals[0]
    found = list(base.labels)
    for source, task in proposals[1:]:
        new = [name for name in task.labels if name not in found]
        if base.kind != "classes" and tuple(task.labels) != base.labels:
            raise ConfigError(
                f"{source}: task.labels={list(task.labels)}: {list(base.labels)} elsewhere"
            )
        for name in new:
            near = nearest_spelling(name, found)
            said.append(f"label {name}: only {source} and those after it have it{near}")
        found += new
    for source, task in proposals:
        lacking = [name for name in found if name not in task.labels]
        if lacking:
            said.append(f"{source} has no row of {', '.join(lacking)}")
    return tuple(found)


def _columns(
    proposals: Sequence[tuple[str, Declared]], said: list[str]
) -> dict[str, ColumnSettings]:
    """Return the columns that all sites have, pooled."""
    told = [(source, max(task.rows, 1), task.described()) for source, task in proposals]
    names = sorted({name for _, _, columns in told for name in columns})
    made = {}
    for name in names:
        lacking = [source for source, _, columns in told if name not in columns]
        if lacking:
            said.append(f"column {name} is left out: not in {', '.join(lacking)}")
            continue
        kinds = {columns[name].kind for _, _, columns in told}
        if len(kinds) > 1:
            said.append(
                f"column {name} is left out: {' and '.join(sorted(kinds))} at different sites "
                f"(data.kinds.{name} says which, at task init)"
            )
            continue
        made[name] = _pooled(name, [(s, n, columns[name]) for s, n, columns in told], said)
    if not made:
        raise ConfigError("task merge: no column is at all sites")
    return made


def _pooled(
    name: str, told: Sequence[tuple[str, int, ColumnSettings]], said: list[str]
) -> ColumnSettings:
    """Return one column of what sites say of it, weighed by their rows."""
    indicated = any(each.indicated for _, _, each in told)
    kind = told[0][2].kind
    if kind == CATEGORY:
        levels = sorted({level for _, _, each in told for level in each.levels})
        for source, _, each in told:
            lacking = [level for level in levels if level not in each.levels]
            if lacking:
                said.append(f"column {name}: {source} does not tell of {', '.join(lacking)}")
        return ColumnSettings(kind, tuple(levels), indicated)
    rows = sum(count for _, count, _ in told)
    place = sum(count * each.location for _, count, each in told) / rows
    square = sum(count * (each.scale**2 + (each.location - place) ** 2) for _, count, each in told)
    for source, _, each in told[1:]:
        if strange := other_units(_place(told[0][2]), _place(each)):
            said.append(f"column {name}: other units? {told[0][0]} and {source}: {strange}")
    return ColumnSettings(kind, (), indicated, place, math.sqrt(square / rows))


def _place(column: ColumnSettings) -> tuple[float, float]:
    return column.location, column.scale


def _targets(
    proposals: Sequence[tuple[str, Declared]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the pooled location and scale of each value."""
    if proposals[0][1].kind != VALUES:
        return (), ()
    rows = sum(max(task.rows, 1) for _, task in proposals)
    places, spreads = [], []
    for at in range(len(proposals[0][1].labels)):
        place = sum(max(t.rows, 1) * t.target_location[at] for _, t in proposals) / rows
        square = sum(
            max(t.rows, 1) * (t.target_scale[at] ** 2 + (t.target_location[at] - place) ** 2)
            for _, t in proposals
        )
        places.append(_rounded(place))
        spreads.append(_rounded(math.sqrt(square / rows)))
    return tuple(places), tuple(spreads)


def data_of(path: str) -> str:
    """Return the data option that reads a file or folder, by what lies there."""
    place = Path(path).expanduser()
    if place.is_dir() and any(is_table(each) for each in place.iterdir()):
        return "table"
    if place.suffix == ".npz":
        return "arrays"
    if place.is_dir():
        endings = {each.suffix.lower() for each in place.rglob("*") if each.is_file()}
        return "images" if endings & set(SUFFIXES) else "table"
    return "table"
