"""`qsynth watch RUN`: attach to a run from another terminal; `qsynth runs`: which there are."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from qsynth.cli.follow import Followed
from qsynth.cli.options import parse
from qsynth.errors import ConfigError

EVERY_S = 1.0
PATIENCE_S = 120.0  # without a change: the run has died


def main(words: list[str]) -> int:
    """Show how far a run is until it has ended; to leave does not end it."""
    options = parse(words)
    if len(options.overrides) != 1:
        raise ConfigError("watch: needs one run folder, e.g. qsynth watch runs/NAME")
    folder = Path(options.overrides[0]).expanduser()
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
