"""What the page of a run shows, as plain values: of one that has ended, or is under way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np

from qsynth import __version__
from qsynth.evaluation.curve_file import Curves
from qsynth.evaluation.gain import FEW
from qsynth.evaluation.verdict import SPOKEN, gains_line, lost_line, verdict
from qsynth.report.progress import Progress
from qsynth.report.tables import DASH, architecture_table, percent, privacy_line, routing_line

PEER = "peer"  # of a node on duty: what nobody here knows more of
MOST_POINTS = 20_000  # of all curves of a page under way


def page_content(
    title: str,
    summary: dict[str, Any],
    progress: Progress,
    fedavg_bytes: int | None,
    curves: Mapping[str, Curves],
    recipe: str,
) -> dict[str, Any]:
    """Return what the page of a run that has ended shows.

    progress: of all its events.  fedavg_bytes: that a node would send of its weights; None where
    models differ.  curves: points of each node in the mesh and alone.  recipe: as text.
    """
    rows = summary["per_node"]
    edges, similarity = _drawn(progress, {row["id"]: at for at, row in enumerate(rows)}, rows)
    nodes = [
        row
        | {
            "curve": curves["mesh"].get(row["name"], []),
            "curve_alone": curves["alone"].get(row["name"], []),
        }
        for row in rows
    ]
    heads, table = architecture_table(summary)
    best = summary["gain"].get("over_best")
    failures = [f"{f['node']}: {f['reason']}" for f in summary["failures"]]
    lost = lost_line(summary)
    return {
        "title": title,
        "live": False,
        "verdict": verdict(summary),
        "lines": [line for line in (gains_line(summary), routing_line(summary)) if line],
        "about": _about(summary),
        "cards": _cards(summary),
        "heads": heads,
        "table": table,
        "nodes": _counted(nodes, edges),
        "edges": edges,
        "similarity": similarity,
        "order": _order(nodes),
        "pairs": _pairs(summary),
        "bytes": _bytes(summary, fedavg_bytes),
        "requests": _requests(progress.lookups, len(rows)),
        "few": FEW,
        "best": best["arm"] if best else None,
        "refused": sorted(summary["packets"]["rejected"].items()),
        "failures": [*failures, lost] if lost else failures,
        "recipe": recipe,
    }


def live_content(
    title: str, progress: Progress, periods: int | None, seconds: float, recipe: str, nodes: int = 0
) -> dict[str, Any]:
    """Return what the page of a run that is under way, or of a node on duty, shows.

    periods: that each node trains for; None where nobody knows.  nodes: that there will be; 0 where
    nobody knows.
    """
    rows, ids = _live_rows(progress)
    edges, similarity = _drawn(progress, ids, rows)
    told, refused = progress.line(), _refused(progress)
    if nodes > told["nodes"]:  # some have not begun
        told |= {"nodes": nodes, "period_least": 0}
    mean = told["validation_mean"]
    of = f" of {periods}" if periods else ""
    return {
        "title": title,
        "live": True,
        "verdict": (
            f"All {told['nodes']} nodes have finished; what the mesh is worth is being measured."
            if 0 < told["nodes"] == told["done"]
            else f"Under way: {told['done']} of {told['nodes']} nodes have finished, the slowest "
            f"is at period {told['period_least']}{of}. Whether the mesh helps is told in the end, "
            "on test samples."
        )
        if periods
        else f"On duty: period {told['period_most']}, {told['admitted']} packets admitted.",
        "lines": [],
        "about": [["seconds so far", f"{seconds:,.0f}"], ["qsynth", __version__]],
        "cards": [
            [percent(mean), "validation accuracy, percent, mean of the nodes"],
            [f"{told['period_least']} to {told['period_most']}{of}", "periods"],
            [f"{told['done']} of {told['nodes']}", "nodes finished"],
            [f"{told['admitted']}", f"packets admitted, {sum(refused.values())} refused"],
            [f"{told['packet_bytes'] / 1024:,.0f} KiB", "of packets sent"],
        ],
        "heads": [],
        "table": [],
        "nodes": _counted(rows, edges),
        "edges": edges,
        "similarity": similarity,
        "order": _order(rows),
        "pairs": [],
        "bytes": [],
        "requests": _requests(progress.lookups, len(rows)),
        "few": FEW,
        "best": None,
        "refused": sorted(refused.items()),
        "failures": [],
        "recipe": recipe,
    }


def _live_rows(progress: Progress) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return a row for each node, and for whom it learns from, and their numbers by id."""
    points = sum(len(state.points) for state in progress.nodes.values())
    stride = -(-points // MOST_POINTS) or 1
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "id": "",
            "architecture": name.rpartition("-")[0] or name,
            "group": None,
            "curve": [
                [period, value, None, None, None] for period, value in state.points[::stride]
            ],
            "curve_alone": [],
            "validation": state.accuracy,
            "periods": state.period,
            "admitted": state.admitted,
            "bytes": state.sent_bytes,
            "done": state.done,
        }
        for name, state in progress.nodes.items()
    ]
    number = {row["name"]: at for at, row in enumerate(rows)}
    ids = {id: number[name] for id, name in progress.names.items() if name in number}
    for state in progress.nodes.values():  # of a node on duty the others are known by their ids
        for author in state.learns_from:
            if author not in ids:
                ids[author] = len(rows)
                rows.append(_stranger(author))
    return rows, ids


def _stranger(author: str) -> dict[str, Any]:
    row = {"name": author[:8], "id": author, "architecture": PEER, "group": None}
    return row | {"curve": [], "curve_alone": [], "bytes": None}


def _refused(progress: Progress) -> Counter[str]:
    return sum((state.rejected for state in progress.nodes.values()), Counter())


def _drawn(
    progress: Progress, ids: Mapping[str, int], rows: list[dict[str, Any]]
) -> tuple[list[list[Any]], list[list[int]]]:
    """Return who learns from whom, and how alike nodes are, both by the numbers of rows."""
    strange = [row["architecture"] == PEER for row in rows]
    states = [
        None if other else progress.nodes.get(row["name"])
        for row, other in zip(rows, strange, strict=True)
    ]
    edges = [
        [ids[author], at, state.gains.get(author)]
        for at, state in enumerate(states)
        if state is not None
        for author in state.learns_from
        if author in ids
    ]
    prints = {
        at: bytes.fromhex(state.fingerprint)
        for at, state in enumerate(states)
        if state is not None and state.fingerprint
    }
    return edges, _similarity(prints, len(rows))


def _counted(nodes: list[dict[str, Any]], edges: list[list[Any]]) -> list[dict[str, Any]]:
    learns, teaches = Counter(e[1] for e in edges), Counter(e[0] for e in edges)
    return [n | {"learns": learns[at], "teaches": teaches[at]} for at, n in enumerate(nodes)]


def _order(nodes: list[dict[str, Any]]) -> list[int]:
    return sorted(range(len(nodes)), key=lambda at: (str(nodes[at]["group"]), at))


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


def _about(summary: dict[str, Any]) -> list[list[str]]:
    """Return what a reader must know to judge the figures, in pairs of words and value."""
    samples = [row.get("test_samples") for row in summary["per_node"]]
    counted = sum(n for n in samples if n is not None)
    times = summary.get("time", {})
    wall, ended = times.get("wall_s"), times.get("ended")
    told = {
        "ended": ended and datetime.fromtimestamp(ended, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "recipe": summary.get("recipe"),
        "seed": summary.get("seed"),
        "nodes": summary["nodes"],
        "test samples": f"{counted:,}, counted once a node" if counted else None,
        "privacy": privacy_line(summary),
        "placement": summary.get("placement"),
        "transport": summary.get("transport"),
        "seconds": None if wall is None else f"{wall:,.0f}",
        "qsynth": __version__,
    }
    return [[words, str(value)] for words, value in told.items() if value is not None]


def _cards(summary: dict[str, Any]) -> list[list[str]]:
    accuracy, gain, best = (
        summary.get("accuracy"),
        summary["gain"],
        summary["gain"].get("over_best"),
    )
    packets, nodes = summary["packets"], max(summary["nodes"], 1)
    kib = summary["traffic"]["bytes_total"] / nodes / 1024
    cards = [[percent(accuracy and accuracy["own"]["mean"]), "own accuracy, percent"]]
    if best:
        words = f"points over {SPOKEN[best['arm']]}, the best alone"
        interval = f"; 95 % interval {100 * best['low']:+.1f} to {100 * best['high']:+.1f}"
        cards.append([f"{100 * best['mean']:+.1f}", words + interval])
    for arm, words in (("alone", "the same nodes alone"), ("local", "their plain networks")):
        over = gain.get(f"over_{arm}")
        if over and over["own"]:
            cards.append([f"{100 * over['own']['mean']:+.1f}", f"points over {words}"])
    refused = sum(packets["rejected"].values())
    cards += [
        [percent(accuracy and accuracy["own"]["worst"]), "the worst node"],
        [f"{summary['nodes'] - len(summary['failures'])} of {summary['nodes']}", "nodes finished"],
        [f"{kib:,.0f} KiB", "sent by a node, all told"],
        [f"{packets['admitted']}", f"packets admitted, {refused} refused"],
    ]
    return [card for card in cards if card[0] != DASH]


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


def _requests(lookups: Counter[int], nodes: int) -> list[list[Any]]:
    """Return requests a lookup beside the logarithm of the mesh and its size."""
    if not lookups:
        return []
    took = np.repeat(list(lookups), list(lookups.values()))
    mean, most, log = float(took.mean()), float(np.percentile(took, 95)), math.log2(max(nodes, 2))
    return [
        ["mean", mean, f"{mean:.1f}"],
        ["95th percentile", most, f"{most:.0f}"],
        ["log2 of the nodes", log, f"{log:.1f}"],
        ["asking everyone", nodes - 1, f"{nodes - 1}"],
    ]
