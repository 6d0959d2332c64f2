"""Sweep a fleet's size, fit exponents, and write the table and plot of docs/explanation/scaling.md.

    python tests/benchmarks/scaling_law.py ROWS.jsonl [--nodes 16 64 256 1024] [--data FOLDER]
        [--write]

Each row is one run of the recipe scaling_law (the whole mesh, simulated; the same data a node);
rows already in ROWS.jsonl are not measured again.  Seconds and peak GiB are of the whole command,
with its evaluation and its report.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "scaling.md"
PLOT = PAGE.with_name("scaling_law.svg")
BEGIN, END = "<!-- rows: law -->", "<!-- end -->"
FITTED = {
    "requests a lookup": "rpcs",
    "bytes a node and period": "bytes",
    "realised pairs": "realised",
    "useful pairs": "useful",
}
SATURATED = 0.01  # of accuracy that four times as many nodes add: below it, more bring no more


def measured(nodes: int, root: str | None) -> dict[str, Any]:
    """Return the row of one run."""
    words = ["run", "+recipe=scaling_law", f"fleet.mlp.count={nodes}", "--quiet", "--json"]
    words += [f"data.root={root}"] if root else []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "qsynth", *words, f"folder={folder}"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        out = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)}: exit {child.returncode}")
    # The whole command: data, training, evaluation and report.
    whole = {"command_s": time.monotonic() - began, "peak_gib": used.ru_maxrss / 2**20}
    return row_of(json.loads(out.strip().splitlines()[-1])) | whole


def row_of(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what the table shows of a run's summary."""
    own, network = summary["accuracy"]["own"], summary["accuracy"]["network"]["own"]
    return {
        "nodes": summary["nodes"],
        "own": own["mean"],
        "worst": own["worst"],
        "network": network["mean"],
        "rpcs": summary["routing"]["rpcs_mean"],
        "recall": summary["routing"]["recall_at_k"],
        "bytes": summary["traffic"]["bytes_per_node_per_period"],
        "possible": summary["pairs"]["possible"],
        "realised": summary["pairs"]["realised"],
        "useful": summary["pairs"]["useful"],
        "wall_s": summary["time"]["wall_s"],
    }


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the exponent of N of each measure, by least squares on logarithms."""
    nodes = np.log([row["nodes"] for row in rows])
    return {
        name: float(np.polyfit(nodes, np.log([row[key] for row in rows]), 1)[0])
        for name, key in FITTED.items()
    }


def saturates(rows: list[dict[str, Any]]) -> int | None:
    """Return the size from which four times as many nodes add less than a point; None: not yet."""
    for before, after in itertools.pairwise(rows):
        fourfold = np.log(after["nodes"] / before["nodes"]) / np.log(4)
        if (after["own"] - before["own"]) / fourfold < SATURATED:
            return int(before["nodes"])
    return None


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table and the line on exponents."""
    heads = [
        "nodes",
        "own, %",
        "worst",
        "network",
        "requests",
        "recall",
        "KiB a node and period",
        "pairs possible",
        "realised",
        "useful",
        "seconds",
        "peak GiB",
    ]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for row in rows:
        cells = [
            f"{row['nodes']:,}",
            *(f"{100 * row[k]:.1f}" for k in ("own", "worst", "network")),
            f"{row['rpcs']:.1f}",
            f"{row['recall']:.3f}",
            f"{row['bytes'] / 1024:.1f}",
            *(f"{row[k]:,}" for k in ("possible", "realised", "useful")),
            f"{row['command_s']:.0f}",
            f"{row['peak_gib']:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    fitted = ", ".join(f"{name} N^{value:.2f}" for name, value in exponents(rows).items())
    point = saturates(rows)
    ends = "not yet saturated at the largest" if point is None else f"saturated from {point} nodes"
    said = f"Fitted: {fitted}. Own accuracy: {ends} (less than a point for four times as many)."
    return "\n".join([*lines, "", said])


def plot(rows: list[dict[str, Any]]) -> None:
    """Write the plot: accuracy, and what a node pays for it, against the fleet's size."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.0, 3.6), layout="constrained")
    nodes = [row["nodes"] for row in rows]
    for key, label in (("own", "predictor"), ("network", "network"), ("worst", "worst node")):
        left.plot(nodes, [100 * row[key] for row in rows], "o-", label=label)
    left.set_ylabel("own accuracy, percent")
    right.plot(nodes, [row["rpcs"] for row in rows], "o-", label="requests a lookup")
    right.plot(nodes, np.log2(nodes), "--", color="0.6", label="log2 of the nodes")
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("nodes")
        axes.legend(fontsize="small")
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(PLOT, format="svg", metadata={"Date": None})


def main() -> int:
    """Measure what is missing; print, and write where asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=Path)
    parser.add_argument("--nodes", type=int, nargs="*", default=[16, 64, 256, 1024])
    parser.add_argument("--data", default=os.environ.get("QSYNTH_DATA_DIR"))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = options.rows.read_text().splitlines() if options.rows.exists() else []
    rows = {row["nodes"]: row for row in map(json.loads, lines)}
    for nodes in options.nodes:
        if nodes not in rows:
            rows[nodes] = measured(nodes, options.data)
            with options.rows.open("a") as file:
                file.write(json.dumps(rows[nodes]) + "\n")
            print(json.dumps(rows[nodes]), flush=True)
    shown = [rows[nodes] for nodes in sorted(options.nodes)]
    text = table(shown)
    print(text)
    if options.write:
        page = PAGE.read_text()
        head, _, rest = page.partition(BEGIN)
        PAGE.write_text(head + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
        plot(shown)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
