"""`qsynth watch [FOLDER]`: see how far a run or a node on duty is; or list the runs of a folder."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from qsynth.cli.options import Options, parse
from qsynth.errors import ConfigError
from qsynth.report.follow import CARD, Followed

DEFAULT = "runs"
EVERY_S = 1.0
PATIENCE_S = 120.0  # without a change: the run has died
SHOWN_S = 60.0  # that a page is still served once its run has ended: a browser takes the report


def main(words: list[str]) -> int:
    """Show how far a run or a node on duty is; leaving does not end it.  Without a folder: list."""
    options = parse(words, ("--port",), ("--web",))
    if len(options.overrides) > 1:
        raise ConfigError("watch: takes one folder, e.g. qsynth watch runs/NAME")
    folder = Path(options.overrides[0] if options.overrides else DEFAULT).expanduser()
    if options.overrides and not folder.is_dir():
        raise ConfigError(f"watch {folder}: no such folder")
    is_run = (folder / "config.yaml").exists()
    web, port = "--web" in options.own, options.own.get("--port", "0")
    if "--port" in options.own and not web:
        raise ConfigError(f"--port {port}: needs --web")
    if web and options.json:
        raise ConfigError("watch --web --json: one of them; the page's own data are at /data.json")
    if not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"--port {port}: must be a number from 0 to 65535; 0 takes a free one")
    if not is_run and not (folder / CARD).exists():
        if web:
            raise ConfigError(f"watch {folder}: --web needs a run, or the home of a node on duty")
        return _list(folder, options.json)
    periods = _periods(folder) if is_run else None
    if web:
        return _serve(folder, periods, int(port), _nodes(folder) if is_run else 0)
    ended = _follow(folder, periods, options)
    if not ended:
        print(
            f"qsynth: nothing new for {PATIENCE_S:.0f} s; if the run has died: "
            f"qsynth run --resume {folder}",
            file=sys.stderr,
        )
        return 1
    if not options.json:
        print(f"ended; qsynth report {folder}")
    return 0


def _follow(folder: Path, periods: int | None, options: Options) -> bool:
    """Show how far all is until the run has ended; return whether it has, or seems to have died.

    periods: of a run; None: a node on duty, which may have nothing to tell for as long as it likes.
    """
    from qsynth.cli.show import Display

    followed, display = Followed(folder), Display(options.quiet)
    changed, began = time.monotonic(), time.monotonic()
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
                seconds = now - began if periods is None else run_seconds(folder)
                display.show(followed, folder.resolve().name, periods, seconds)
            if (folder / "summary.json").exists():
                return True
            if periods is not None and now - changed > PATIENCE_S:
                return False
            time.sleep(EVERY_S)


def _serve(folder: Path, periods: int | None, port: int, nodes: int) -> int:
    """Serve the live page until the run has ended and a while after, or a signal ends it."""
    from qsynth.report.live import LivePage

    recipe = "" if periods is None else (folder / "config.yaml").read_text(encoding="utf-8")
    with LivePage(folder, periods, recipe, port, nodes) as live:
        print(f"the page of {folder}, on this machine alone: {live.url}", flush=True)
        while not live.ended:
            time.sleep(EVERY_S)
        print(f"ended; the page is {folder / 'report.html'}", flush=True)
        time.sleep(SHOWN_S)
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


def _nodes(folder: Path) -> int:
    """Return how many nodes a run will have; 0 where its config leaves that to its data."""
    from qsynth.report.folder import read_config

    counts = [group.get("count") for group in read_config(folder).get("fleet", {}).values()]
    return 0 if None in counts else sum(counts)


def _periods(folder: Path) -> int:
    from qsynth.report.folder import read_config

    trainer = read_config(folder)["trainer"]
    return -(-int(trainer["max_steps"]) // int(trainer["period_steps"]))
