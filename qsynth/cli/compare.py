"""`qsynth compare`: what a mesh is worth, arm by arm, over seeds."""

from __future__ import annotations

import json
import sys
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from rich.console import Console
from rich.table import Table

from qsynth.cli.options import parse
from qsynth.cli.show import Display
from qsynth.config.run import check_arm, default_arms
from qsynth.errors import ConfigError
from qsynth.recipe.compose import compose

EXAMPLE = "qsynth compare +recipe=fmnist_rotations arms=[best_alone,semantic] seeds=[0,1,2]"


def main(words: list[str]) -> int:
    """Run the arms of a recipe over seeds; print one table, write table, data and plot."""
    options = parse(words)
    arms, rest = _list(options.overrides, "arms", str)
    seeds, rest = _list(rest, "seeds", int)
    if len(set(seeds)) < len(seeds) or min(seeds, default=0) < 0:
        raise ConfigError(f"seeds={seeds}: needs different whole numbers from 0")
    composed = compose(rest, options.trusted).with_data()
    arms, seeds = arms or default_arms(composed.config), seeds or [composed.config.seed]
    for name in arms:
        check_arm(composed.config, name)
    # Only now: a mistake above is answered before torch is imported.
    from qsynth.experiment.compare import compare, write_rows
    from qsynth.experiment.execute import check_folder, new_folder
    from qsynth.report.plot import plot_rows

    def say(line: str) -> None:
        if not options.quiet:
            print(f"qsynth: {line}", file=sys.stderr, flush=True)

    check_folder(composed.config)
    with Display(options.quiet) as display:
        rows = compare(composed.config, arms, seeds, say, display.measured)
    folder = new_folder(composed.config, composed.values | {"compare": [arms, seeds]})
    write_rows(folder, rows)
    plot_rows(folder / "compare.svg", composed.config.name, rows)
    if options.json:
        for row in rows:
            print(json.dumps(row))
    if not options.quiet:
        out = sys.stderr if options.json else sys.stdout
        Console(file=out, width=None if out.isatty() else 120).print(_table(rows))
        print(f"everything is in {folder}", file=out)
    return 0


def _list(words: list[str], key: str, kind: type) -> tuple[list[Any], list[str]]:
    """Return the values of `key=[a,b]` and the other words.  Raises ConfigError."""
    values: list[Any] = []
    rest = []
    for word in words:
        name, _, text = word.partition("=")
        if name != key:
            rest.append(word)
            continue
        try:
            given = OverridesParser.create().parse_override(f"{key}={text}").value()
        except (HydraException, ValueError):
            given = None
        values = given if isinstance(given, list) else [given]
        if not values or not all(type(value) is kind for value in values):
            spoken = "names" if kind is str else "whole numbers"
            raise ConfigError(f"{word}: must be a list of {spoken}, e.g. {EXAMPLE}")
    return values, rest


def _table(rows: list[dict[str, Any]]) -> Table:
    seeds = ", ".join(str(seed) for seed in rows[0]["seeds"])
    what = " of balanced accuracy" if rows[0]["gain_of"] == "balanced" else ""
    table = Table(title=f"percent, seeds {seeds}; gain{what} over best_alone, 95 % interval")
    for column in (
        "arm",
        "own",
        "sd",
        "worst",
        "group",
        "network",
        "gain",
        "interval",
        "harmed",
        "balanced",
        "AUROC",
        "ECE",
        "KiB a node",
    ):
        table.add_column(column, justify="left" if column == "arm" else "right")
    for row in rows:
        interval = "-"
        if row["gain_low"] is not None:
            interval = f"{100 * row['gain_low']:+.1f} {100 * row['gain_high']:+.1f}"
        carried = row["bytes_per_node"]
        table.add_row(
            row["arm"],
            _percent(row["own_mean"]),
            _percent(row["own_sd"]),
            _percent(row["own_worst"]),
            _percent(row["group_mean"]),
            _percent(row["network_mean"]),
            f"{100 * row['gain_mean']:+.1f}",
            interval,
            _percent(row["harmed_share"]),
            _percent(row["balanced_mean"]),
            _percent(row["auroc_mean"]),
            _percent(row["ece_mean"]),
            "-" if carried is None else f"{carried / 1024:.0f}",
        )
    best = next((row.get("setting") for row in rows if "setting" in row), None)
    if best:
        table.caption = f"best_alone is: {best}"
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
