"""`qsynth watch [RUN]`: attach to a run from another terminal, or list the runs of a folder."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from qsynth.cli.follow import Followed
from qsynth.cli.options import parse
from qsynth.errors import ConfigError

DEFAULT = "runs"
EVERY_S = 1.0
PATIENCE_S = 120.0  # without a change: the run has died


def main(words: list[str]) -> int:
    """Show how far a run is until it has ended; leaving does not end it.  Without a run: list."""
    options = parse(words)
    if len(options.overrides) > 1:
        raise ConfigError("watch: takes one folder, e.g. qsynth watch runs/NAME")
    folder = Path(options.overrides[0] if options.overrides else DEFAULT).expanduser()
    if options.overrides and not folder.is_dir():
        raise ConfigError(f"watch {folder}: no such folder")
    if not (folder / "config.yaml").exists():
        return _list(folder, options.json)
    from qsynth.cli.show import Display

    periods = _periods(folder)
    followed, display = Followed(folder), Display(options.quiet)
    changed = time.monotonic()
    last: dict[str, Any] = {}
    with display:
        while True:
            followed.read()
            now, told = time.monotonic(), followed.line()
            if told != last:
                last, changed = told, now
                if options.json:
                    print(json.dumps(told), flush=True)
            if not (options.json or options.quiet):
                display.show(followed, folder.name, periods, run_seconds(folder))
            if (folder / "summary.json").exists():
                break
            if now - changed > PATIENCE_S:
                print(
                    f"qsynth: nothing new for {PATIENCE_S:.0f} s; if the run has died: "
                    f"qsynth run --resume {folder}",
                    file=sys.stderr,
                )
                return 1
            time.sleep(EVERY_S)
    if not options.json:
        print(f"ended; qsynth report {folder}")
    return 0


def _list(folder: Path, as_json: bool) -> int:
    """Print a line a run, the newest last."""
    rows = [_row(path) for path in sorted(folder.glob("*")) if (path / "config.yaml").exists()]
    if as_json:
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


def run_seconds(folder: Path) -> float:
    """Return how long a run has lasted, by its own files: until its summary, or now."""
    summary = folder / "summary.json"
    try:
        ended = summary.stat().st_mtime if summary.exists() else time.time()
        return max(ended - (folder / "config.yaml").stat().st_mtime, 0.0)
    except OSError:
        return 0.0


def _periods(folder: Path) -> int:
    from qsynth.report.folder import read_config

    trainer = read_config(folder)["trainer"]
    return -(-int(trainer["max_steps"]) // int(trainer["period_steps"]))
