"""`qsynth run`: compose, check, train, measure, show."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qsynth.cli.options import Options, parse
from qsynth.cli.show import Display, print_summary
from qsynth.config.groups import validate
from qsynth.errors import ConfigError
from qsynth.placement import check_placement
from qsynth.recipe.compose import compose
from qsynth.report.estimate import check_early
from qsynth.report.folder import MINE, read_own


def main(words: list[str]) -> int:
    """Run a fleet; return 0 if at least one node has finished and none has failed to be named."""
    many = {"-m", "--multirun"} & set(words)
    options = parse([w for w in words if w not in many], ("--resume", "--locked"), (MINE,))
    if many:
        if options.own:
            raise ConfigError(f"run -m {next(iter(options.own))}: a sweep begins runs anew")
        from qsynth.cli.sweep import sweep

        return sweep(options)
    if MINE in options.own and "--resume" not in options.own:
        raise ConfigError(f"run {MINE}: is for --resume RUN")
    if "--resume" in options.own:
        return _resume(options)
    if "--locked" in options.own:
        return _again(options)
    composed = compose(options.overrides, options.trusted).with_data()
    config = composed.config
    data = check_early(config, composed.data)
    check_placement(config.placement, config.mesh, config.nodes)
    # Only now: a mistake above is answered before torch is imported.
    from qsynth.experiment.execute import execute

    display = Display(options.quiet)
    with display, _hinted(display):
        plan, summary = execute(
            config, composed.values, composed.overrides, display, composed.recipe_path, data=data
        )
    _show(options, summary, plan.folder)
    return 0


@contextlib.contextmanager
def _hinted(display: Display) -> Iterator[None]:
    """Tell who interrupts a run how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        if display.folder is not None:
            print(f"qsynth: go on with: qsynth run --resume {display.folder}", file=sys.stderr)
        raise


def _again(options: Options) -> int:
    """Run once more what a lock names, and nothing else."""
    for word in options.overrides:
        if word.lstrip("+").split("=")[0] != "folder":
            raise ConfigError(f"run --locked {word}: takes folder=... alone; a lock names the rest")
    from qsynth.experiment.execute import execute
    from qsynth.experiment.lock import ELSEWHERE, check_values
    from qsynth.recipe.lint import lint_overrides
    from qsynth.recipe.lockfile import read_locked

    locked = read_locked(Path(options.own["--locked"]).expanduser())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_bytes(locked.recipe)
        # What came with a lock is somebody's, not the user's own word.
        trusted = frozenset(options.trusted)
        sent = lint_overrides(locked.lock.get("overrides", []), locked.source, trusted)
        kept = [w for w in sent if w.lstrip("+").split("=")[0] not in ELSEWHERE]
        words = [f"recipe={path}", *kept, *options.overrides]
        composed = compose(words, options.trusted).with_data()
        check_values(locked, composed.values)
        display = Display(options.quiet)
        with display, _hinted(display):
            plan, summary = execute(
                composed.config, composed.values, composed.overrides, display, path, locked
            )
    _show(options, summary, plan.folder)
    if not options.quiet and locked.lock.get("packets") and plan.placement.simulated:
        print("the same packets as in the locked run, bit for bit", file=sys.stderr)
    return 0


def _resume(options: Options) -> int:
    """Go on with an interrupted run, from its folder alone."""
    if options.overrides:
        raise ConfigError(
            f"run --resume {options.overrides[0]}: takes no overrides; a run goes on as it began"
        )
    folder = Path(options.own["--resume"]).expanduser().absolute()
    from qsynth.experiment.execute import resume

    values = read_own(folder, MINE in options.own)
    config = validate(values)
    display = Display(options.quiet)
    with display, _hinted(display):
        plan, summary = resume(config, values, folder, display)
    _show(options, summary, plan.folder)
    return 0 if summary["accuracy"] else 1


def _show(options: Options, summary: dict[str, Any], folder: Path) -> None:
    if not options.quiet:
        print_summary(summary, folder, sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(summary))
