"""`qsynth report RUN [RUN ...]`: make summaries again from their folders; several side by side."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from qsynth.cli.options import parse
from qsynth.cli.show import Display, print_summary
from qsynth.config.groups import validate
from qsynth.errors import ConfigError
from qsynth.recipe.received import read_received
from qsynth.report.folder import MINE

ROWS = (
    "nodes",
    "own",
    "worst node",
    "over alone",
    "network",
    "KiB a node",
    "requests a lookup",
    "packets admitted",
    "packets refused",
    "pairs useful",
    "failed",
)


def main(words: list[str]) -> int:
    """Evaluate the predictors of run folders; print and write their summaries and figures."""
    options = parse(words, flags=("--certificate", MINE))
    if not options.overrides:
        raise ConfigError("report: needs a run folder, e.g. qsynth report runs/NAME")
    from qsynth.experiment.execute import report
    from qsynth.report.plot import plot_figures

    summaries: dict[str, dict[str, Any]] = {}
    for word in options.overrides:
        folder = Path(word).expanduser().absolute()
        values = read_received(folder, MINE in options.own, options.trusted)
        with Display(options.quiet) as display:
            summary = report(validate(values), folder, display.measured)
        plot_figures(folder)
        summaries[str(folder)] = summary
        if "--certificate" in options.own:
            _certify(folder, values, options.quiet)
    if options.json:
        one = len(summaries) == 1
        print(json.dumps(next(iter(summaries.values())) if one else summaries))
    elif not options.quiet and len(summaries) == 1:
        print_summary(summary, folder)
        print(f"its page is {folder / 'report.html'}, its figures are in {folder / 'figures'}")
    elif not options.quiet:
        _print_beside(summaries)
    return 0 if all(summary["accuracy"] for summary in summaries.values()) else 1


def _certify(folder: Path, values: dict[str, Any], quiet: bool) -> None:
    """Write and tell what each node of a run gained on its audit samples."""
    from qsynth.experiment.build import build
    from qsynth.experiment.certificate import certify, told, uncertified
    from qsynth.recipe.lockfile import read_locked

    recipe = str(read_locked(folder).lock["recipe_sha256"])
    plan = build(validate(values), folder)
    if missing := uncertified(plan):
        print(f"no certificate of {', '.join(missing)}: no predictor is there", file=sys.stderr)
    for made in certify(plan, recipe):
        if not quiet:
            page = folder / "nodes" / made["node"] / "certificate.html"
            print(f"{told(made)}; {page}", file=sys.stderr)


def _print_beside(summaries: dict[str, dict[str, Any]]) -> None:
    table = Table(title="accuracies in percent")
    table.add_column("")
    for folder in summaries:
        table.add_column(Path(folder).name, justify="right", overflow="fold")
    columns = [_column(summary) for summary in summaries.values()]
    for at, name in enumerate(ROWS):
        table.add_row(name, *(column[at] for column in columns))
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _column(summary: dict[str, Any]) -> list[str]:
    from qsynth.report.tables import percent

    found = summary["accuracy"]
    own, network = (found["own"], found["network"]["own"]) if found else ({}, {})
    gain = summary["gain"]["over_alone"]
    over = gain and gain["own"]
    rpcs = summary["routing"]["rpcs_mean"]
    return [
        str(summary["nodes"]),
        percent(own.get("mean")),
        percent(own.get("worst")),
        f"{100 * over['mean']:+.1f}" if over else "-",
        percent(network.get("mean")),
        f"{summary['traffic']['bytes_total'] / max(summary['nodes'], 1) / 1024:.0f}",
        "-" if rpcs is None else f"{rpcs:.1f}",
        str(summary["packets"]["admitted"]),
        str(sum(summary["packets"]["rejected"].values())),
        str(summary["pairs"]["useful"]),
        str(len(summary["failures"])),
    ]
