"""Read the config of a run's folder: as data, unless the user has made it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsynth.errors import RecipeError, UntrustedError, printable
from qsynth.identity.seal import sealed, take
from qsynth.recipe.lint import lint_values
from qsynth.run.folder import CONFIG, read_config

MINE = "--mine"
OURS = f"give {MINE} if the run is your own, from another machine or account"


def read_own(folder: Path, mine: bool) -> dict[str, Any]:
    """Return the config of a run that is to go on.  Raises UntrustedError where it is not own.

    mine: the user says that the folder is theirs, whatever it holds.
    """
    if mine:
        take(folder)
    values = read_config(folder)
    if not sealed(folder / CONFIG):
        raise UntrustedError(
            f"{folder}: has no seal of yours, and going on with it could run code of whoever made "
            f"it; {OURS}"
        )
    return values


def read_received(folder: Path, mine: bool, trusted: Sequence[str]) -> dict[str, Any]:
    """Return the config of a run that is to be looked at.

    mine: as above.  trusted: package.Class names that the user allows.  Raises RecipeError where
    a folder without the user's seal names other code, or files outside the current folder.
    """
    if mine:
        take(folder)
    values = read_config(folder)
    if not sealed(folder / CONFIG):
        try:
            lint_values(values, str(folder / CONFIG), frozenset(trusted))
        except RecipeError as error:
            raise UntrustedError(f"{error}; or {OURS}") from None
        print(
            printable(f"qsynth: {folder}: without a seal of yours; read as data"), file=sys.stderr
        )
    return values
