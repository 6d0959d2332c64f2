"""`qsynth new`: a folder to begin with, for one's own table."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from qsynth.cli.options import parse
from qsynth.cli.own_data import own_data, proposed
from qsynth.errors import ConfigError, printable


def main(words: list[str]) -> int:
    """Write the files, none over one that is there."""
    options = parse(words, ("--label",))
    named = options.take_named()
    if len(named) != 2:
        raise ConfigError(
            "new: needs a folder and a table, e.g. qsynth new mine site.csv --label diagnosis"
        )
    folder, path = Path(named[0]), named[1]
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: is not empty; name another folder")
    data = own_data("new", options, path)
    task, _, notes = proposed(data)
    if not task.columns:
        raise ConfigError(
            f"{path}: is no table; qsynth run data=images data.path=FOLDER and qsynth recipe copy "
            "begin with pictures"
        )
    from qsynth.recipe.starter import starter

    task = replace(task, title=folder.name or task.title)
    here = os.path.relpath(Path(path).expanduser().absolute(), folder.absolute())
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in starter(task, here).items():
        (folder / name).write_text(text, encoding="utf-8")
    if not options.quiet:
        for note in notes:
            print(f"qsynth: {printable(note)}", file=sys.stderr)
        print(
            f"{folder} is there: cd {folder}; qsynth run +recipe=recipe.yaml data.path={here} "
            "--trust network.Net"
        )
    return 0
