"""`report.html`: one self-contained page of a run's summary."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #8886; text-align: right; }
th:first-child, td:first-child { text-align: left; }
pre { overflow-x: auto; padding: 1rem; border: 1px solid #8886; }
"""
COLUMNS = ("architecture", "nodes", "local", "alone", "mesh", "network alone", "network mesh",
           "worst node")  # fmt: skip


def write_report(folder: Path, summary: dict[str, Any]) -> None:
    """Write the page into the run folder."""
    accuracy = summary.get("accuracy")
    headline = "no node has finished"
    if accuracy:
        headline = (
            f"own accuracy {accuracy['own']['mean']:.1%}, worst {accuracy['own']['worst']:.1%}"
        )
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table_rows(summary)
    )
    heads = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(folder.name)}</title><style>{STYLE}</style></head><body>
<h1>{html.escape(folder.name)}</h1>
<p>{html.escape(headline)}</p>
<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>
<p>{html.escape(routing_line(summary))}</p>
<h2>summary.json</h2><pre>{html.escape(json.dumps(summary, indent=1))}</pre>
</body></html>
"""
    (folder / "report.html").write_text(page, encoding="utf-8")


def table_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Return a row of text for each architecture, in the order of COLUMNS."""
    rows = []
    for entry in summary.get("by_architecture", []):
        local, alone, mesh = entry["local"], entry["alone"], entry["mesh"]
        rows.append(
            [
                entry["architecture"],
                str(entry["nodes"]),
                percent(local and local["own"]["mean"]),
                percent(alone and alone["own"]["mean"]),
                percent(mesh["own"]["mean"]),
                percent(alone and alone["network"]["own"]["mean"]),
                percent(mesh["network"]["own"]["mean"]),
                percent(mesh["own"]["worst"]),
            ]
        )
    return rows


def percent(value: float | None) -> str:
    """Return a fraction of 1 as text, or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"


def routing_line(summary: dict[str, Any]) -> str:
    """Return one line on routing and bytes."""
    routing, traffic, packets = summary["routing"], summary["traffic"], summary["packets"]
    pairs = summary["pairs"]
    if not routing["lookups"]:
        return "no lookups"
    recall = routing["recall_at_k"]
    shown = "" if recall is None else f", recall@{routing['k']} {recall:.3f}"
    rate = traffic["bytes_per_node_per_period"] or 0.0
    return (
        f"{routing['lookups']} lookups of {routing['rpcs_mean']:.1f} requests{shown}; "
        f"{packets['admitted']} packets of {packets['bytes_mean'] or 0:.0f} bytes admitted, "
        f"{sum(packets['rejected'].values())} rejected; {pairs['realised']} of "
        f"{pairs['possible']} pairs realised, {pairs['useful']} useful; "
        f"{rate / 1024:.1f} KiB a node and period"
    )
