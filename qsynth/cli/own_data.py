"""Data that a verb is given as a word: a table, a folder, an .npz, and what is said of it."""

from __future__ import annotations

from typing import Any

from qsynth.cli.options import Options
from qsynth.errors import ConfigError


def own_data(verb: str, options: Options, path: str) -> Any:
    """Return the data option that reads a file or folder.

    `--label` and overrides `data.KEY=VALUE` say more of it.  Raises ConfigError.
    """
    from qsynth.recipe.compose import compose
    from qsynth.recipe.task_file import data_of

    wrong = [w for w in options.overrides if not w.lstrip("+").startswith("data.")]
    if wrong:
        raise ConfigError(
            f"{verb} {wrong[0]}: takes settings of data alone, e.g. data.leave_out=[id]"
        )
    words = [f"data={data_of(path)}", f"data.path={_quoted(path)}", *options.overrides]
    if "--label" in options.own:
        names = [_quoted(name) for name in options.own["--label"].split(",")]
        words.append(f"data.label={names[0] if len(names) == 1 else '[' + ','.join(names) + ']'}")
    return compose(words, options.trusted).config.data


def _quoted(text: str) -> str:
    """Return text as Hydra's grammar takes it, whatever letters it has."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def proposed(data: Any) -> tuple[Any, int, list[str]]:
    """Return the task that data propose, how many samples they have, and what was left out."""
    from qsynth.data.load import load_data
    from qsynth.data.table import Table
    from qsynth.data.task import FromData
    from qsynth.recipe.task_file import LEAST_ROWS, proposal

    loaded = load_data(data, FromData())
    columns, notes, count = {}, list(loaded.notes), len(loaded.train_y) + len(loaded.test_y)
    if isinstance(data, Table):
        rows = data.read(None)
        columns = data.columns(rows, None, LEAST_ROWS)
        count, notes = rows.table.num_rows, [loaded.notes[0], *rows.notes]
    return proposal(loaded.task, columns, count), count, notes
