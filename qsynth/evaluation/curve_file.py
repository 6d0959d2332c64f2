"""`curves.json`: accuracy over time, as a run's folder keeps it."""

from __future__ import annotations

import json
from pathlib import Path

MEASURES = ("own", "group", "network_own", "network_group")
NAME = "curves.json"
# A period and the measures of it, fractions of 1; None where there is none.
Point = list[float | None]
Curves = dict[str, list[Point]]  # by the names of nodes


def read_curves(folder: Path) -> tuple[dict[str, Curves], bool]:
    """Return the curves of a run by arm, mesh and alone, and whether the run had ended."""
    try:
        kept = json.loads((folder / NAME).read_text(encoding="utf-8"))
        return {arm: dict(kept[arm]) for arm in ("mesh", "alone")}, bool(kept["whole"])
    except (OSError, ValueError, KeyError, TypeError):
        return {"mesh": {}, "alone": {}}, False
