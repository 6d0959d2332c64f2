"""`report.html`: one self-contained page of a run, that needs no network and no library."""

from __future__ import annotations

import html
import importlib.resources
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.evaluation.curves import MEASURES, Curves, read_curves
from qsynth.evaluation.gain import FEW
from qsynth.evaluation.verdict import SPOKEN, gains_line, lost_line, verdict

COLUMNS = (
    "architecture",
    "nodes",
    "local",
    "alone",
    "linear",
    "mesh",
    "network alone",
    "network mesh",
    "worst node",
)
MOST_NODES = 12  # of a fleet whose nodes are told one by one on a terminal
PAGE = importlib.resources.files("qsynth.report") / "page"


def write_report(
    folder: Path,
    summary: dict[str, Any],
    events: list[dict[str, Any]],
    fedavg_bytes: int | None,
    recipe: str,
) -> None:
    """Write the page, and its figures as CSV, into the run folder.

    events: of all nodes.  fedavg_bytes: that a node would send of its weights; None where models
    differ.  recipe: the resolved config as text.
    """
    data = page_data(summary, events, fedavg_bytes, read_curves(folder)[0])
    page = _page(folder.name, summary, data, recipe)
    (folder / "report.html").write_text(page, encoding="utf-8")
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for name, heads, rows in _tables(data):
        lines = [",".join(heads), *(",".join(map(_cell, row)) for row in rows)]
        (figures / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def page_data(
    summary: dict[str, Any],
    events: list[dict[str, Any]],
    fedavg_bytes: int | None,
    curves: Mapping[str, Curves],
) -> dict[str, Any]:
    """Return what the page's script draws.

    curves: points of each node in the mesh and alone.
    """
    rows = summary["per_node"]
    number = {row["id"]: at for at, row in enumerate(rows)}
    named = {row["name"]: at for at, row in enumerate(rows)}
    newest: dict[int, dict[str, Any]] = {}
    prints: dict[int, bytes] = {}
    lookups: list[int] = []
    for event in events:
        at = named.get(event["node"])
        if event["event"] == "lookup":
            lookups.append(event["rpcs"])
        if at is None:
            continue
        if event["event"] == "synthesis":
            newest[at] = event
        elif event["event"] == "publish":
            prints[at] = bytes.fromhex(event["fingerprint"])
    edges = [
        [number[author], at, event.get("gains", {}).get(author)]
        for at, event in sorted(newest.items())
        for author in event["used"]
        if author in number
    ]
    nodes = [
        row
        | {
            "curve": curves["mesh"].get(row["name"], []),
            "curve_alone": curves["alone"].get(row["name"], []),
            "learns": sum(e[1] == at for e in edges),
            "teaches": sum(e[0] == at for e in edges),
        }
        for at, row in enumerate(rows)
    ]
    order = sorted(range(len(rows)), key=lambda at: (str(rows[at]["group"]), at))
    return {
        "nodes": nodes,
        "edges": edges,
        "similarity": _similarity(prints, len(rows)),
        "order": order,
        "pairs": _pairs(summary),
        "bytes": _bytes(summary, fedavg_bytes),
        "requests": _requests(lookups, len(rows)),
        "few": FEW,
        "best": best["arm"] if (best := summary["gain"].get("over_best")) else None,
    }


def _similarity(prints: dict[int, bytes], count: int) -> list[list[int]]:
    """Return the cosines of the last fingerprints, in hundredths; 0 where there is none."""
    if not prints:
        return []
    width = max(len(data) for data in prints.values())
    matrix = np.zeros((count, width))
    for at, data in prints.items():
        matrix[at, : len(data)] = np.frombuffer(data, np.int8)
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    made: list[list[int]] = np.rint(100 * matrix @ matrix.T).astype(int).tolist()
    return made


def _pairs(summary: dict[str, Any]) -> list[list[Any]]:
    pairs = summary["pairs"]
    return [[name, pairs[name], f"{pairs[name]:,}"] for name in ("possible", "realised", "useful")]


def _bytes(summary: dict[str, Any], fedavg_bytes: int | None) -> list[list[Any]]:
    nodes = max(summary["nodes"], 1)
    mesh = summary["traffic"]["bytes_total"] / nodes
    rows: list[list[Any]] = [["this mesh", mesh, f"{mesh / 1024:,.0f} KiB"]]
    if fedavg_bytes is None:
        return [*rows, ["FedAvg, 20 rounds", None, "not possible: the networks differ"]]
    return [*rows, ["FedAvg, 20 rounds", fedavg_bytes, f"{fedavg_bytes / 1024:,.0f} KiB"]]


def _requests(lookups: list[int], nodes: int) -> list[list[Any]]:
    """Return requests a lookup beside the logarithm of the mesh and its size."""
    log = math.log2(max(nodes, 2))
    mean = float(np.mean(lookups)) if lookups else None
    most = float(np.percentile(lookups, 95)) if lookups else None
    return [
        ["mean", mean, "-" if mean is None else f"{mean:.1f}"],
        ["95th percentile", most, "-" if most is None else f"{most:.0f}"],
        ["log2 of the nodes", log, f"{log:.1f}"],
        ["asking everyone", nodes - 1, f"{nodes - 1}"],
    ]


def _tables(data: dict[str, Any]) -> list[tuple[str, list[str], list[list[Any]]]]:
    keys = [
        "name",
        "architecture",
        "group",
        "local",
        "alone",
        "linear",
        "own",
        "gain",
        "gain_low",
        "gain_high",
        "test_samples",
        "network",
        "group_accuracy",
        "bytes",
    ]
    names = [node["name"] for node in data["nodes"]]
    curves = [
        [node["name"], arm, *point]
        for node in data["nodes"]
        for arm, key in (("mesh", "curve"), ("alone", "curve_alone"))
        for point in node[key]
    ]
    return [
        ("nodes", keys, [[node.get(key) for key in keys] for node in data["nodes"]]),
        ("curves", ["node", "arm", "period", *MEASURES], curves),
        (
            "synthesis",
            ["author", "learner", "gain"],
            [[names[a], names[b], gain] for a, b, gain in data["edges"]],
        ),
        (
            "similarity",
            ["node", *names],
            [[names[at], *(v / 100 for v in row)] for at, row in enumerate(data["similarity"])],
        ),
    ]


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n') else text


def _page(name: str, summary: dict[str, Any], data: dict[str, Any], recipe: str) -> str:
    # "<" cannot end the script that it stands in.
    embedded = json.dumps(data).replace("<", "\\u003c")
    refused = summary["packets"]["rejected"]
    rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{v}</td></tr>" for k, v in refused.items())
    table = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table_rows(summary)
    )
    failures = "".join(
        f"<li>{html.escape(f['node'])}: {html.escape(f['reason'])}</li>"
        for f in summary["failures"]
    )
    lost = lost_line(summary)
    failures += f"<li>{html.escape(lost)}</li>" if lost else ""
    values = {
        "title": html.escape(name),
        "css": (PAGE / "page.css").read_text("utf-8"),
        "js": (PAGE / "page.js").read_text("utf-8"),
        "data": embedded,
        "cards": _cards(summary),
        "verdict": html.escape(verdict(summary)),
        "gains": html.escape(gains_line(summary)),
        "line": html.escape(routing_line(summary)),
        "table": table,
        "heads": "".join(f"<th scope=col>{html.escape(c)}</th>" for c in COLUMNS),
        "refused": rows or "<tr><td>nothing was refused</td><td>0</td></tr>",
        "failures": f"<ul>{failures}</ul>" if failures else "<p>Every node has finished.</p>",
        "recipe": html.escape(recipe),
    }
    # In one pass: what stands in a value is not looked at again.
    page = (PAGE / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], page)


def _cards(summary: dict[str, Any]) -> str:
    accuracy, gain = summary.get("accuracy"), summary["gain"].get("over_alone")
    own, best = gain and gain["own"], summary["gain"].get("over_best")
    local = summary["gain"].get("over_local")
    plain = local and local["own"]
    named = SPOKEN[best["arm"]] if best else "the best without a mesh"
    packets, nodes = summary["packets"], max(summary["nodes"], 1)
    kib = summary["traffic"]["bytes_total"] / nodes / 1024
    cards = [
        (percent(accuracy and accuracy["own"]["mean"]), "own accuracy, percent"),
        ("-" if not best else f"{100 * best['mean']:+.1f}", f"points over {named}, the best alone"),
        ("-" if not own else f"{100 * own['mean']:+.1f}", "points over the same nodes alone"),
        ("-" if not plain else f"{100 * plain['mean']:+.1f}", "points over their plain networks"),
        (percent(accuracy and accuracy["own"]["worst"]), "the worst node"),
        (f"{summary['nodes'] - len(summary['failures'])} of {summary['nodes']}", "nodes finished"),
        (f"{kib:,.0f} KiB", "sent by a node, all told"),
        (
            f"{packets['admitted']}",
            f"packets admitted, {sum(packets['rejected'].values())} refused",
        ),
    ]
    return "".join(
        f'<div class="card"><b>{b}</b><span>{html.escape(s)}</span></div>' for b, s in cards
    )


def table_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Return a row of text for each architecture, in the order of COLUMNS."""
    rows = []
    for entry in summary.get("by_architecture", []):
        local, alone, mesh = entry["local"], entry["alone"], entry["mesh"]
        linear = entry.get("linear")
        rows.append(
            [
                entry["architecture"],
                str(entry["nodes"]),
                percent(local and local["own"]["mean"]),
                percent(alone and alone["own"]["mean"]),
                percent(linear and linear["own"]["mean"]),
                percent(mesh["own"]["mean"]),
                percent(alone and alone["network"]["own"]["mean"]),
                percent(mesh["network"]["own"]["mean"]),
                percent(mesh["own"]["worst"]),
            ]
        )
    return rows


def node_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Return a row of text for each node of a small fleet; none where no baseline was run.

    Node, best baseline, mesh, gain, its interval where few samples tell, and how many these are.
    """
    best = summary["gain"].get("over_best")
    nodes = [row for row in summary["per_node"] if row.get("gain") is not None]
    if best is None or len(summary["per_node"]) > MOST_NODES:
        return []
    return [
        [
            row["name"],
            percent(row[best["arm"]]),
            percent(row["own"]),
            f"{100 * row['gain']:+.1f}",
            f"{100 * row['gain_low']:+.1f} to {100 * row['gain_high']:+.1f}"
            if row["test_samples"] < FEW
            else "",
            f"{row['test_samples']:,}",
        ]
        for row in nodes
    ]


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
    # No more can be found than there are.
    k = min(routing["k"] or 0, max(summary["nodes"] - 1, 1))
    shown = "" if recall is None else f", recall@{k} {recall:.3f}"
    rate = traffic["bytes_per_node_per_period"] or 0.0
    return (
        f"{routing['lookups']} lookups of {routing['rpcs_mean']:.1f} requests{shown}; "
        f"{packets['admitted']} packets of {packets['bytes_mean'] or 0:.0f} bytes admitted, "
        f"{sum(packets['rejected'].values())} rejected; {pairs['realised']} of "
        f"{pairs['possible']} pairs realised, {pairs['useful']} useful; "
        f"{rate / 1024:.1f} KiB a node and period"
    )
