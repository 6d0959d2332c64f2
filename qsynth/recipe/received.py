"""Read the config of a run's folder that somebody may have sent: as data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsynth.errors import RecipeError, UntrustedError, printable
from qsynth.identity.seal import sealed, take
from qsynth.recipe.lint import lint_values
from qsynth.report.folder import CONFIG, OURS, read_config


def read_received(folder: Path, mine: bool, trusted: Sequence[str]) -> dict[str, Any]:
    """Return the config of a run that is to be looked at.

    mine: the user says that the folder is theirs, whatever it holds.  trusted: package.Class names
    that the user allows.  Raises UntrustedError where a folder without the user's seal names other
    code, or files outside the current folder.
    """
    if mine:
        take(folder)
    values = read_config(folder)
    if not sealed(folder / CONFIG):
        try:
            lint_values(values, str(folder / CONFIG), frozenset(trusted))
        except RecipeError as error:
            raise UntrustedError(f"{error}; or {OURS}") from None
        said = printable(f"qsynth: {folder}: without a seal of yours; read as data")
        print(said, file=sys.stderr)
    return values
