"""Measure how lookups scale, and write the tables and the plot of docs/explanation/scaling.md.

python tests/benchmarks/scaling.py ROWS.jsonl [--data FOLDER] [--million] [--write]

Rows already in ROWS.jsonl are not measured again.  A million nodes take half an hour and 5 GiB;
the rest a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "scaling.md"
PLOT = PAGE.with_name("scaling.svg")
BEGIN, END = "<!-- rows: {} -->", "<!-- end -->"
REAL = ("fmnist_rotations", "fmnist_swap", "fmnist_labels")
# What is asked of one command: nodes, data, strategies, starts, shares of dead nodes, queries.
COMMANDS = [
    ("1000,10000,100000", "clustered", "rings,exact", "cold", "0", 1000),
    ("1000,10000,100000", "clustered", "rings", "warm", "0", 1000),
    ("100000", "clustered", "rings,exact", "cold", "0.1,0.3", 1000),
    ("1000,10000", "clustered", "simhash,full_view,random_walk", "cold", "0", 500),
    ("1000,10000", "uniform", "rings", "cold", "0", 500),
    *(("1000,10000", data, "rings", "cold", "0", 500) for data in REAL),
]
MILLION = ("1000000", "clustered", "rings,exact", "cold,warm", "0", 1000)


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("nodes", "data", "strategy", "start", "dead", "queries"))


def wanted(command: tuple[Any, ...]) -> set[tuple[Any, ...]]:
    nodes, data, strategies, starts, dead, queries = command
    return {
        (int(n), data, strategy, start, float(share), queries)
        for n in nodes.split(",")
        for strategy in strategies.split(",")
        for start in starts.split(",")
        for share in dead.split(",")
    }


def command_line(command: tuple[Any, ...]) -> list[str]:
    nodes, data, strategies, starts, dead, queries = command
    return [
        "bench",
        "route",
        "--nodes",
        nodes,
        "--data",
        data,
        "--strategy",
        strategies,
        "--start",
        starts,
        "--dead",
        dead,
        "--queries",
        str(queries),
    ]


def measured(kept: Path, commands: list[tuple[Any, ...]], root: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    for command in commands:
        if wanted(command) <= {key(row) for row in rows}:
            continue
        words = command_line(command) + (["--root", root] if root else [])
        print("qsynth", *words, file=sys.stderr)
        done = subprocess.run(
            [sys.executable, "-m", "qsynth", *words, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        with kept.open("a") as file:
            file.write(done.stdout)
        rows += [json.loads(line) for line in done.stdout.splitlines()]
    return list({key(row): row for row in rows}.values())


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| nodes | data | strategy | start | dead | recall | rpcs (p95) | rounds | KB | contacts | "
        "in-degree, median and most | busiest | join rpcs |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in sorted(
        rows,
        key=lambda r: (
            r["data"] != "clustered",
            r["data"],
            r["strategy"],
            r["start"],
            r["dead"],
            r["nodes"],
        ),
    ):
        lines.append(
            f"| {r['nodes']:,} | {r['data']} | {r['strategy']} | {r['start']} | {r['dead']:g} | "
            f"{r['recall']:.4f} | {r['rpcs_mean']:.1f} ({r['rpcs_p95']:.0f}) | "
            f"{r['rounds_mean']:.1f} | {r['bytes_mean'] / 1000:.1f} | {r['contacts_mean']:.1f} | "
            f"{r['in_degree_median']:.0f}, {r['in_degree_max']} | {100 * r['busiest_share']:.1f} % "
            f"| {r['join_rpcs_mean']:.0f} |"
        )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]]) -> None:
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "qsynth"}
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    for strategy, start, label in (
        ("rings", "cold", "rings, cold"),
        ("rings", "warm", "warm"),
        ("exact", "cold", "by id"),
    ):
        mine = sorted(
            (
                r
                for r in rows
                if r["data"] == "clustered"
                and r["dead"] == 0
                and (r["strategy"], r["start"]) == (strategy, start)
            ),
            key=lambda r: r["nodes"],
        )
        nodes = [r["nodes"] for r in mine]
        left.semilogx(nodes, [r["rpcs_mean"] for r in mine], marker="o", label=label)
        right.semilogx(nodes, [r["recall"] for r in mine], marker="o", label=label)
    left.set(xlabel="nodes", ylabel="requests a lookup")
    right.set(xlabel="nodes", ylabel="recall@10 (by id: found)", ylim=(0.9, 1.002))
    left.legend()
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=Path)
    parser.add_argument("--data", default="")
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    commands = COMMANDS + ([MILLION] if options.million else [])
    rows = measured(options.rows, commands, options.data)
    made = table(rows)
    print(made)
    if options.write:
        text = PAGE.read_text()
        begin = BEGIN.format("route")
        head, rest = text.split(begin)
        _, tail = rest.split(END, 1)
        PAGE.write_text(f"{head}{begin}\n{made}\n{END}{tail}")
        plot(rows)


if __name__ == "__main__":
    main()
