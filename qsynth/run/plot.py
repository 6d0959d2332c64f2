"""The plot of a comparison: accuracy against bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
                [100 * point[1] for point in row["curve"]], color=colour, linewidth=1.0,
            )  # fmt: skip
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
