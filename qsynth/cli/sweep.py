"""`qsynth run -m`: one run for each combination of values, one after the other."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from rich.console import Console
from rich.table import Table

from qsynth.cli.options import Options
from qsynth.errors import ConfigError
from qsynth.placement.supervisor import QSYNTH
from qsynth.recipe.compose import compose

MOST = 1000  # runs of one sweep


def sweep(options: Options) -> int:
    """Run every combination; return 0 where all have ended well, else 1.

    All are composed beforehand: a mistake in one is answered before the first runs.  Each is a
    process of its own, so that one that fails leaves the others what they are.
    """
    combinations = expanded(options.overrides)
    for words in combinations:
        compose(words, options.trusted)
    rows: list[dict[str, Any]] = []
    trust = [word for name in options.trusted for word in ("--trust", name)]
    for number, words in enumerate(combinations, 1):
        told = [word for word in words if word not in options.overrides]
        if not options.quiet:
            print(f"qsynth: run {number} of {len(combinations)}: {' '.join(told)}", file=sys.stderr)
        command = [*QSYNTH, "run", *words, *trust, "--json"]
        command += ["--quiet"] if options.quiet else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        lines = done.stdout.strip().splitlines()
        summary = json.loads(lines[-1]) if done.returncode == 0 and lines else None
        rows.append({"overrides": told, "exit_code": done.returncode, "summary": summary})
    if options.json:
        print(json.dumps(rows))
    elif not options.quiet:
        _print(rows)
    return int(any(row["exit_code"] for row in rows))


def expanded(overrides: list[str]) -> list[list[str]]:
    """Return the overrides of every run: Hydra's choices `a,b`, `choice()` and `range()`.

    Raises ConfigError for a sweep that has no end, or too many runs.
    """
    parser, each = OverridesParser.create(), list[list[str]]()
    for word in overrides:
        try:
            parsed = parser.parse_override(word)
        except HydraException as error:
            raise ConfigError(f"{word}: {str(error).splitlines()[0]}") from None
        if not parsed.is_sweep_override():
            each.append([word])
        elif not parsed.is_discrete_sweep():
            raise ConfigError(f"{word}: a sweep needs single values, e.g. seed=0,1,2")
        else:
            key = word.partition("=")[0]
            each.append([f"{key}={value}" for value in parsed.sweep_string_iterator()])
    made = [list(words) for words in itertools.islice(itertools.product(*each), MOST + 1)]
    if len(made) > MOST:
        raise ConfigError(f"run -m: more than {MOST} runs")
    return made


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table(title="own accuracy, percent")
    for column in ("overrides", "own", "worst node", "over alone", "KiB a node"):
        table.add_column(column, justify="left" if column == "overrides" else "right")
    for row in rows:
        summary = row["summary"]
        if summary is None or not summary["accuracy"]:
            table.add_row(" ".join(row["overrides"]), f"failed ({row['exit_code']})", "", "", "")
            continue
        own, gain = summary["accuracy"]["own"], summary["gain"]["over_alone"]
        over = f"{100 * gain['own']['mean']:+.1f}" if gain and gain["own"] else "-"
        kib = summary["traffic"]["bytes_total"] / summary["nodes"] / 1024
        table.add_row(
            " ".join(row["overrides"]),
            f"{100 * own['mean']:.1f}",
            f"{100 * own['worst']:.1f}",
            over,
            f"{kib:.0f}",
        )
    Console(width=None if sys.stdout.isatty() else 100).print(table)
