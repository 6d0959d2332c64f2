"""What stands in a run folder, for verbs that need no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from qsynth.errors import DataError

CONFIG = "config.yaml"


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
    return values
