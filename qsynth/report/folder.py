"""What stands in a run folder, for verbs that need no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from qsynth.errors import DataError, UntrustedError
from qsynth.identity.seal import sealed, take

CONFIG = "config.yaml"
MINE = "--mine"
OURS = f"give {MINE} if the run is your own, from another machine or account"


# Settings that are no more; what they had to be for a run to be what it would be today.
GONE: dict[tuple[str, ...], Any] = {
    ("synthesis", "combine"): "sum",
    ("synthesis", "teach", "schedule"): "fixed",
    ("dht", "simhash_tables"): 8,
    ("dht", "simhash_bits"): 4,
    ("dht", "simhash_probes"): 4,
}


def read_config(folder: Path) -> dict[str, Any]:
    """Return the resolved config values of a run folder."""
    try:
        values = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"{folder}: no run folder (it has no config.yaml)") from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{folder}: no run folder (config.yaml: {first})") from None
    if not isinstance(values, dict):
        raise DataError(f"{folder}: config.yaml holds no config")
    _drop_gone(values)
    return values


def _drop_gone(values: dict[str, Any]) -> None:
    """Read the config of an older version: leave out what is no longer a setting."""
    for path, value in GONE.items():
        place: Any = values
        for part in path[:-1]:
            place = place.get(part) if isinstance(place, dict) else None
        if isinstance(place, dict) and place.get(path[-1]) == value:
            del place[path[-1]]


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
