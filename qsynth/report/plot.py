"""The plot of a comparison, and the figures of a run as PNG."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure


def plot_rows(path: Path, title: str, rows: list[dict[str, Any]]) -> None:
    """Write an SVG: own accuracy against the bytes that a node sends; no bytes is a line."""
    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for index, row in enumerate(rows):
        accuracy, carried = 100 * row["own_mean"], row["bytes_per_node"]
        colour = f"C{index % 10}"
        error = 100 * (row["own_sd"] or 0.0)
        if row.get("curve"):
            axes.plot(
                [point[0] / 1024 for point in row["curve"]],
                [100 * point[1] for point in row["curve"]],
                color=colour,
                linewidth=1.0,
            )
        if carried:
            axes.errorbar(
                carried / 1024, accuracy, error, fmt="o", color=colour, label=row["arm"], capsize=3
            )
        else:
            axes.axhline(accuracy, color=colour, linestyle="--", linewidth=1.0, label=row["arm"])
    axes.set_xscale("log")
    axes.set_xlabel("KiB sent by a node, all traffic")
    axes.set_ylabel("own accuracy, percent")
    axes.set_title(title)
    axes.legend(fontsize="small")
    axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, format="svg", metadata={"Date": None})


def plot_figures(folder: Path) -> None:
    """Write `figures/curves.png` and `figures/similarity.png` from the CSV files beside them."""
    figures = folder / "figures"
    curves: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with (figures / "curves.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            point = float(row["period"]), 100.0 * float(row["own"])
            curves.setdefault((row["arm"], row["node"]), []).append(point)
    figure, axes = _drawn(f"{folder.name}: predictors on their own label shares")
    for arm, colour in (("alone", "C1"), ("mesh", "C0")):
        members = [points for (of, _), points in curves.items() if of == arm]
        for points in members:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.6, alpha=0.4)
        periods = sorted({period for points in members for period, _ in points})
        means = [np.mean([dict(m)[p] for m in members if p in dict(m)]) for p in periods]
        if members:
            axes.plot(periods, means, color=colour, linewidth=2.5, label=f"{arm}, mean")
    if curves:
        axes.legend(fontsize="small")
    axes.set_xlabel("period")
    axes.set_ylabel("own accuracy, percent")
    figure.savefig(figures / "curves.png", metadata={"Software": None})
    with (figures / "similarity.csv").open(newline="", encoding="utf-8") as file:
        rows = [[float(cell) for cell in row[1:]] for row in list(csv.reader(file))[1:]]
    figure, axes = _drawn(f"{folder.name}: cosine of fingerprints")
    if rows:
        shown = axes.imshow(np.array(rows), vmin=-1.0, vmax=1.0, cmap="RdBu")
        figure.colorbar(shown)
    figure.savefig(figures / "similarity.png", metadata={"Software": None})


def _drawn(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.0, 4.5), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize="medium")
    return figure, axes
