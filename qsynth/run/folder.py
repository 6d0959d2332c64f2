"""What stands in a run folder, for verbs that need no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from qsynth.errors import DataError


def read_config(folder: Path) -> dict[str, Any]:
    """Return the resolved config values of a run folder."""
    try:
        values = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{folder}: no run folder ({error})") from None
    if not isinstance(values, dict):
        raise DataError(f"{folder}: config.yaml holds no config")
    return values
