"""The figures of a run as rows of text: for a terminal, the page, and files of CSV."""

from __future__ import annotations

from typing import Any

from qsynth.evaluation.curve_file import MEASURES
from qsynth.evaluation.gain import FEW

MOST_NODES = 12  # of a fleet whose nodes are told one by one on a terminal
DASH = "-"
NODE_KEYS = (
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
)


def architecture_table(summary: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return heads, and a row of text for each architecture; a column of dashes is left out."""
    rows = [
        {"architecture": entry["architecture"], "nodes": str(entry["nodes"])}
        | {arm: _mean(entry.get(arm)) for arm in ("local", "alone", "linear", "mesh")}
        | {
            "network alone": _mean(entry["alone"] and entry["alone"]["network"]),
            "network mesh": _mean(entry["mesh"]["network"]),
            "worst node": percent(entry["mesh"]["own"]["worst"]),
            "ECE": percent(entry["mesh"].get("calibration_error")),
        }
        for entry in summary.get("by_architecture", [])
    ]
    heads = [head for head in (rows[0] if rows else {}) if any(r[head] != DASH for r in rows)]
    return heads, [[row[head] for head in heads] for row in rows]


def _mean(entry: dict[str, Any] | None) -> str:
    return percent(entry["own"]["mean"] if entry else None)


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
    return DASH if value is None else f"{100 * value:.1f}"


def privacy_line(summary: dict[str, Any]) -> str | None:
    """Return guarantee, spent and left of a run; None where packets carry exact statistics."""
    told = summary.get("privacy")
    if told is None:
        return None
    return (
        f"epsilon {told['epsilon']:g}, delta {told['delta']:g} ({told['neighbours']}); at most "
        f"{told['spent']:.3g} spent by a node in {told['releases']} releases, "
        f"{told['left']:.3g} left"
    )


def _cohorts(members: list[int]) -> str:
    """Return how many nodes hold a sum, and of how many."""
    if not members:
        return ""
    return f"{len(members)} nodes hold a sum of {min(members)} to {max(members)} nodes; "


def routing_line(summary: dict[str, Any]) -> str:
    """Return one line on routing and bytes."""
    routing, traffic, packets = summary["routing"], summary["traffic"], summary["packets"]
    pairs = summary["pairs"]
    added = _cohorts(summary.get("cohorts") or [])
    if not routing["lookups"]:
        return f"{added}no lookups"
    recall = routing["recall_at_k"]
    # No more can be found than there are.
    k = min(routing["k"] or 0, max(summary["nodes"] - 1, 1))
    shown = "" if recall is None else f", recall@{k} {recall:.3f}"
    rate = traffic["bytes_per_node_per_period"] or 0.0
    return added + (
        f"{routing['lookups']} lookups of {routing['rpcs_mean']:.1f} requests{shown}; "
        f"{packets['admitted']} packets of {packets['bytes_mean'] or 0:.0f} bytes admitted, "
        f"{sum(packets['rejected'].values())} rejected; {pairs['realised']} of "
        f"{pairs['possible']} pairs realised, {pairs['useful']} useful; "
        f"{rate / 1024:.1f} KiB a node and period"
    )


def csv_tables(content: dict[str, Any]) -> dict[str, str]:
    """Return the text of files of CSV, by name, of what a page shows (`page_content`)."""
    nodes, similarity = content["nodes"], content["similarity"]
    names = [node["name"] for node in nodes]
    curves = [
        [node["name"], arm, *point]
        for node in nodes
        for arm, key in (("mesh", "curve"), ("alone", "curve_alone"))
        for point in node[key]
    ]
    edges = [[names[author], names[learner], gain] for author, learner, gain in content["edges"]]
    cosines = [[names[at], *(v / 100 for v in row)] for at, row in enumerate(similarity)]
    return {
        "nodes": _csv(NODE_KEYS, [[node.get(key) for key in NODE_KEYS] for node in nodes]),
        "curves": _csv(["node", "arm", "period", *MEASURES], curves),
        "synthesis": _csv(["author", "learner", "gain"], edges),
        "similarity": _csv(["node", *names], cosines),
    }


def _csv(heads: Any, rows: list[list[Any]]) -> str:
    return "".join(",".join(map(_cell, row)) + "\n" for row in [heads, *rows])


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\n\r') else text
