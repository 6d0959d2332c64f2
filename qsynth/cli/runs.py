"""`qsynth runs [FOLDER]`: the runs that are there, and what has become of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qsynth.cli.options import parse
from qsynth.errors import ConfigError

DEFAULT = "runs"


def main(words: list[str]) -> int:
    """Print a line a run, the newest last."""
    options = parse(words)
    if len(options.overrides) > 1:
        raise ConfigError("runs: takes one folder, e.g. qsynth runs runs")
    folder = Path(options.overrides[0] if options.overrides else DEFAULT).expanduser()
    if options.overrides and not folder.is_dir():
        raise ConfigError(f"runs {folder}: no such folder")
    rows = [_row(path) for path in sorted(folder.glob("*")) if (path / "config.yaml").exists()]
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        own = "-" if row["own"] is None else f"{100 * row['own']:.1f}"
        print(f"{row['state']:11} {own:>6}  {row['folder']}")
    if not rows:
        print(f"no runs in {folder}")
    return 0


def _row(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"folder": str(path), "state": "not ended", "own": None, "nodes": None}
    accuracy = summary.get("accuracy")
    failed = bool(summary["failures"])
    return {
        "folder": str(path),
        "state": "with losses" if failed else "ended",
        "own": accuracy and accuracy["own"]["mean"],
        "nodes": summary["nodes"],
    }
