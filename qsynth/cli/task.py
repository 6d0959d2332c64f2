"""`qsynth task`: one task for sites that do not see each other's data."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from qsynth.cli.options import Options, parse
from qsynth.cli.own_data import own_data, proposed
from qsynth.errors import ConfigError, nearest_spelling, printable

VERBS = ("init", "merge", "check")
OUT = "task.yaml"


def main(words: list[str]) -> int:
    """Propose, agree on, or check a task."""
    verb = words[0] if words else ""
    if verb not in VERBS:
        raise ConfigError(f"task {verb}: no such verb{nearest_spelling(verb, VERBS)}")
    return {"init": _init, "merge": _merge, "check": _check}[verb](words[1:])


def _files(options: Options, verb: str, least: int, most: int | None = None) -> list[str]:
    """Return the files that are named, and leave the overrides."""
    named = options.take_named()
    if len(named) < least or (most is not None and len(named) > most):
        usage = {
            "init": "one table or folder, e.g. qsynth task init site.csv --label diagnosis",
            "merge": "two tasks or more, e.g. qsynth task merge a.yaml b.yaml",
            "check": "a task and the data, e.g. qsynth task check task.yaml site.csv",
        }[verb]
        raise ConfigError(f"task {verb}: needs {usage}")
    return named


def _init(words: list[str]) -> int:
    """Write what a site's own data propose."""
    options = parse(words, ("--label", "--out", "--title"))
    (path,) = _files(options, "init", 1, 1)
    task, count, notes = proposed(own_data("task", options, path))
    task = replace(task, title=options.own.get("--title", task.title))
    return _write(options, task, f"{Path(path).name}, {count} rows", notes)


def _merge(words: list[str]) -> int:
    """Write one task of several proposals."""
    options = parse(words, ("--out", "--title"))
    paths = _files(options, "merge", 2)
    if options.overrides:
        raise ConfigError(f"task merge {options.overrides[0]}: takes tasks alone")
    from qsynth.recipe.task_file import merged, read_task

    agreed = merged([(path, read_task(Path(path), options.trusted)) for path in paths])
    task = replace(agreed.task, title=options.own.get("--title", agreed.task.title))
    how = f"{len(paths)} sites, {task.rows} rows"
    return _write(options, task, how, agreed.decisions or ["the proposals agree"])


def _write(options: Options, task: Any, how: str, notes: list[str]) -> int:
    from qsynth.recipe.task_file import features_of, written

    out = Path(options.own.get("--out", OUT))
    if out.exists():
        raise ConfigError(f"{out}: is there already; name another file: --out FILE")
    text = written(task, str(out), how)
    out.write_text(text, encoding="utf-8")
    for note in notes:
        print(f"qsynth: {printable(note)}", file=sys.stderr)
    what = f"{len(task.columns)} columns, {features_of(task)} features, " if task.columns else ""
    said = {"task": str(out), "labels": list(task.labels), "notes": notes}
    if options.json:
        print(json.dumps(said))
    else:
        print(printable(f"{out}: {task.title}: {what}{task.kind} {', '.join(task.labels)}"))
    return 0


def _check(words: list[str]) -> int:
    """Say whether a site's data fit a task."""
    options = parse(words, ("--label",))
    path, data_path = _files(options, "check", 2, 2)
    from qsynth.data.columns import other_units
    from qsynth.data.load import load_data
    from qsynth.data.table import Table
    from qsynth.recipe.task_file import read_task

    task, data = read_task(Path(path), options.trusted), own_data("task", options, data_path)
    if task.kind != getattr(data, "kind", task.kind):
        data = replace(data, kind=task.kind)
    loaded = load_data(data, task)
    notes = list(loaded.notes)
    if isinstance(data, Table):
        own = data.columns(data.read(task), None)
        for name, each in task.described().items():
            if name in own and own[name].kind == each.kind != "category":
                strange = other_units(
                    (each.location, each.scale), (own[name].location, own[name].scale)
                )
                if strange:
                    notes.append(f"column {name}: other units? the task's and here: {strange}")
    lacking = _absent(loaded, task)
    if lacking:
        notes.append(f"no row here is of {', '.join(lacking)}")
    for note in notes:
        print(f"qsynth: {printable(note)}", file=sys.stderr)
    if options.json:
        print(json.dumps({"fits": True, "notes": notes, "digest": loaded.task.digest().hex()}))
    else:
        print(f"{data_path} fits {path} (task {loaded.task.digest().hex()[:16]})")
    return 0


def _absent(loaded: Any, task: Any) -> list[str]:
    """Return the classes that no row here has."""
    if task.kind != "classes":
        return []
    there = {int(c) for part in (loaded.train_y, loaded.test_y) for c in set(part.tolist())}
    return [name for index, name in enumerate(task.labels) if index not in there]
