"""Data that a verb is given as a word: a table, a folder, an .npz, and what is said of it."""

from __future__ import annotations

import json
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
    words = [f"data={data_of(path)}", f"data.path={json.dumps(path)}", *options.overrides]
    if "--label" in options.own:
        names = [json.dumps(name) for name in options.own["--label"].split(",")]
        words.append(f"data.label={names[0] if len(names) == 1 else '[' + ','.join(names) + ']'}")
    return compose(words, options.trusted).config.data
