"""What a node chooses by itself against fixed choices, metrics, sums, and what packets give away.

python tests/benchmarks/choices.py [--data FOLDER] [--write] [--only choices|metrics|sums|privacy]

Writes docs/explanation/choices.md: merged heads without networks, five reporting seeds.  Sums take
half an hour, the rest as long.  No part of CI.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from evidence import PAGE, SEEDS, Row, audited, percent, place

from qsynth.data import load_data
from qsynth.experiment.arms import run_mesh
from qsynth.recipe.compose import compose
from qsynth.training.fit import single_threaded

CHOICES = PAGE.with_name("choices.md")
RECIPES = (
    "fmnist_rotations",
    "fmnist_swap",
    "fmnist_labels",
    "fmnist_skew",
    "fmnist_loners",
    "fmnist_dirichlet",
    "digits_skew",
    "natural",
)
VARIANTS = {
    "as it is": (),
    "merge=whole": ("synthesis.merge=whole",),
    "merge=classwise": ("synthesis.merge=classwise",),
    "k=auto": ("peers.k=auto",),
    "k=6": ("peers.k=6",),
}
METRICS = {
    "class_sketch": (),
    "sketch_mean": ("similarity=sketch_mean",),
    "label_histogram": ("similarity=label_histogram",),
    "output_probe": ("similarity=output_probe",),
    "packet loss: 3 of 6": ("peers.k=6", "synthesis.most=3"),
}
MEASURED_BY = ("fmnist_rotations", "fmnist_labels", "fmnist_skew", "digits_skew")
KEYS = ("own_mean", "own_worst", "bytes_per_node", "packets_held", "authors_reached", "loss_mean")
PACKETS = {
    "`fmnist_tiny`: 4-bit means, d=44": ("fmnist_tiny", ()),
    "`distill.d=auto`": ("fmnist_rotations", ("distill.d=auto",)),
    "`distill.d=64`": ("fmnist_rotations", ("distill.d=64",)),
    "`distill.d=128`": ("fmnist_rotations", ("distill.d=128",)),
    "`fmnist_rotations`: d=320": ("fmnist_rotations", ()),
    "`digits_mesh`: d=auto": ("digits_mesh", ()),
    "`digits_skew`: d=224": ("digits_skew", ()),
}


def table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def heads(recipes: tuple[str, ...], variants: dict[str, Any], data: str | None) -> str:
    """Return own accuracy of merged heads: recipes down, variants across."""
    rows = []
    with ProcessPoolExecutor(2) as pool:
        for recipe in recipes:
            where = place(Row(recipe, (), SEEDS, 0, {}), data)
            words = [f"+recipe={recipe}", *where]
            jobs = [
                [pool.submit(head, [*words, *overrides, f"seed={seed}"]) for seed in SEEDS]
                for overrides in variants.values()
            ]
            cells = []
            for done in jobs:
                own, sent = zip(*(job.result() for job in done), strict=True)
                cells.append(f"{percent(statistics.fmean(own))} ({statistics.fmean(sent):.0f})")
            rows.append([recipe, *cells])
            print(rows[-1], file=sys.stderr, flush=True)
    return table(("recipe", *variants), rows)


def head(overrides: list[str]) -> tuple[float, float]:
    """Return own accuracy of merged heads, and KiB a node."""
    single_threaded()
    config = compose(overrides).config
    made = run_mesh(config, "head", load_data(config.data, config.task), {})
    own = statistics.fmean(score["own"] for score in made["scores"].values())
    return own, made["bytes_per_node"] / 1024


def choices(data: str | None) -> str:
    """Return what a node's own choice of merge and k is worth."""
    return (
        "## Merge and number of peers\n\nThe arm `head` of `qsynth compare "
        "+recipe=RECIPE` with `synthesis.merge=whole`, `=classwise` (as it is: `auto`), "
        "`peers.k=auto`, `=6`.\n\n" + heads(RECIPES, VARIANTS, data)
    )


def metrics(data: str | None) -> str:
    """Return what each metric of similarity is worth."""
    return (
        "## Metrics of similarity\n\nThe same with `similarity=sketch_mean`, `label_histogram` and "
        "`output_probe` (the latter two are controls), and with `peers.k=6 synthesis.most=3`, "
        "which takes those three of six packets under which own samples are likeliest.\n\n"
        + heads(MEASURED_BY, METRICS, data)
    )


def sums(data: str | None) -> str:
    """Return what sums over authors are worth against fifteen packets."""
    script = Path(__file__).with_name("sums.py")
    where = [f"data.root={data}"] if data else []
    command = [sys.executable, str(script), "--seeds", "0", "1", "2", *where]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    lines = [json.loads(line) for line in done.stdout.strip().splitlines()]
    rows = []
    for peers in dict.fromkeys(line["peers"] for line in lines):
        mine = [line for line in lines if line["peers"] == peers]
        of = {key: statistics.fmean(line[key] for line in mine) for key in KEYS}
        rows.append(
            [
                peers,
                percent(of["own_mean"]),
                percent(of["own_worst"]),
                f"{of['bytes_per_node'] / 1024:.0f}",
                f"{of['packets_held']:.1f}",
                f"{of['authors_reached']:.1f}",
                f"{of['loss_mean']:.3f}",
            ]
        )
    return (
        "## Sums\n\n`python tests/benchmarks/sums.py --seeds 0 1 2`: 256 nodes, 64 in each group. "
        "KiB are all traffic of a node.\n\n"
        + table(("peers", "own", "worst", "KiB", "packets", "authors", "truncation loss"), rows)
    )


def privacy(data: str | None) -> str:
    """Return what packets give away."""
    rows = []
    for name, (recipe, overrides) in PACKETS.items():
        made = audited(Row(recipe, (), (0,), 0, {}, overrides), data)
        assert made is not None
        keys = (
            "membership_auc",
            "scatter_auc",
            "fingerprint_auc",
            "inversion_rate",
            "difference_rate",
        )
        cells = ["-" if made.get(key) is None else f"{made[key]:.2f}" for key in keys]
        rows.append([name, f"{made['bytes']:.0f}", f"{made['d']:.0f}", *cells])
    head = ("packet", "bytes", "d", "means", "scatter", "fingerprint", "inversion", "difference")
    return (
        "## What packets give away\n\n`qsynth packet audit +recipe=RECIPE`, seed 0; "
        "[privacy](privacy.md) says what the columns mean.\n\n" + table(head, rows)
    )


INTRO = """# Choices

Written by `make evidence`. Own accuracy in percent of the merged head without a network, in
brackets KiB a node, all traffic; means over seeds 0-4 unless said.
"""
PARTS = {"choices": choices, "metrics": metrics, "sums": sums, "privacy": privacy}
TITLES = {
    "choices": "Merge and number of peers",
    "metrics": "Metrics of similarity",
    "sums": "Sums",
    "privacy": "What packets give away",
}


def main() -> int:
    """Make the parts that are asked for; the others stay as they are."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--data", default=None)
    parser.add_argument("--write", action="store_true", help="write the page")
    options = parser.parse_args()
    print("about 1 h 20 min on two cores, less what is kept", file=sys.stderr, flush=True)
    sections = {}
    if CHOICES.exists():
        for part in CHOICES.read_text(encoding="utf-8").split("\n\n## ")[1:]:
            sections[part.partition("\n")[0]] = f"## {part.strip()}"
    for name in options.only:
        sections[TITLES[name]] = PARTS[name](options.data)
        print(sections[TITLES[name]] + "\n", flush=True)
        if options.write:
            page = [sections[title] for title in TITLES.values() if title in sections]
            CHOICES.write_text(INTRO + "\n" + "\n\n".join(page) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
