"""Read the record: events of all nodes, and what they say about routing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of one file; a torn last line of a killed node is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def all_events(run: Path) -> list[dict[str, Any]]:
    """Return the events of all nodes of a run, in the order of time."""
    events = [
        e for path in sorted((run / "nodes").glob("*/events.jsonl")) for e in read_events(path)
    ]
    return sorted(events, key=lambda e: (e["time"], e["node"]))


def merge_events(run: Path, events: list[dict[str, Any]]) -> None:
    """Write `events.jsonl` and `metrics.csv` of a run."""
    with (run / "events.jsonl").open("w", encoding="utf-8") as file:
        for event in events:
            file.write(json.dumps(event) + "\n")
    with (run / "metrics.csv").open("w", encoding="utf-8") as file:
        file.write("time,node,period,validation_accuracy\n")
        for event in events:
            if event["event"] == "period":
                value = event["validation_accuracy"]
                shown = "" if value is None else f"{value:.6f}"
                file.write(f"{event['time']},{event['node']},{event['period']},{shown}\n")


def node_ids(events: list[dict[str, Any]]) -> dict[str, str]:
    """Return node names by hex id, also of nodes that have left no result."""
    return {event["id"]: event["node"] for event in events if event["event"] == "started"}


def ends(events: list[dict[str, Any]], finished: set[str]) -> dict[str, float]:
    """Return when each node that has left no result was last heard of."""
    last = {event["node"]: event["time"] for event in events}
    return {node: time for node, time in last.items() if node not in finished}


def routing(
    events: list[dict[str, Any]], ids: dict[str, str], k: int, ended: dict[str, float]
) -> dict[str, Any]:
    """Return what lookups took, and their recall against brute force.

    ids: node name by hex id.  ended: when nodes died.  Recall of a lookup: the share of
    the k most alike authors, among all versions alive when it began, that it found.
    """
    lookups = [e for e in events if e["event"] == "lookup"]
    semantic = [e for e in lookups if e["kind"] != "nearest"]
    recalls = list(_recalls(semantic, events, ids, k, ended))
    rpcs = [e["rpcs"] for e in lookups]
    return {
        "lookups": len(lookups),
        "rpcs_mean": float(np.mean(rpcs)) if rpcs else None,
        "rpcs_p95": float(np.percentile(rpcs, 95)) if rpcs else None,
        "rounds_mean": float(np.mean([e["rounds"] for e in lookups])) if lookups else None,
        "k": k,
        "recall_at_k": float(np.mean(recalls)) if recalls else None,
    }


def _recalls(
    lookups: list[dict[str, Any]],
    events: list[dict[str, Any]],
    ids: dict[str, str],
    k: int,
    ended: dict[str, float],
) -> Iterator[float]:
    """Yield the recall of each lookup that has one, in the order of their beginnings."""
    published = [event for event in events if event["event"] == "publish"]
    names = sorted({event["node"] for event in published})
    if k < 1 or not names:
        return
    row = {name: number for number, name in enumerate(names)}
    prints = np.zeros((len(names), len(bytes.fromhex(published[0]["fingerprint"]))))
    present = np.zeros(len(names), bool)
    ends_at = np.array([ended.get(name, np.inf) for name in names])
    told = 0
    for lookup in sorted(lookups, key=lambda event: event["began"]):
        while told < len(published) and published[told]["time"] <= lookup["began"]:
            event, told = published[told], told + 1
            sent = bytes.fromhex(event["fingerprint"])
            prints[row[event["node"]]] = np.frombuffer(sent, np.int8)
            present[row[event["node"]]] = True
        alive = present & (ends_at >= lookup["began"])
        me = row.get(lookup["node"])
        if me is None or not alive[me] or alive.sum() < 2:
            continue
        own = prints[me]
        lengths = np.linalg.norm(prints, axis=1) * np.linalg.norm(own)
        scores = prints @ own / np.maximum(lengths, 1e-12)
        alive[me] = False
        others = np.flatnonzero(alive)
        best = {names[at] for at in others[np.argsort(-scores[others], kind="stable")[:k]]}
        found = {ids.get(node) for node, version in lookup["found"][:k] if version > 0}
        yield len(found & best) / len(best)


def pairs(
    results: dict[str, dict[str, Any]], events: list[dict[str, Any]]
) -> tuple[dict[str, int], float | None]:
    """Return directed author-to-learner pairs, and the share of admitted ones within a group."""
    name_of = {result["id"]: name for name, result in results.items()}
    group_of = {name: result["group"] for name, result in results.items()}
    realised = {
        (name_of[e["author"]], e["node"])
        for e in events
        if e["event"] == "admit" and e["author"] in name_of and e["node"] in results
    }
    useful = {
        (name_of[author], e["node"])
        for e in events
        if e["event"] == "synthesis" and e["node"] in results
        for author in e["used"]
        if author in name_of
    }
    for e in events:  # a sum is of all its members, and is used or not
        if e["event"] == "cohort" and e["node"] in results:
            added = {(name_of[other], e["node"]) for other in e["others"] if other in name_of}
            realised |= added
            if (name_of.get(e["author"]), e["node"]) in useful:
                useful |= added
    count = len(results)
    share = None
    if realised and all(group is not None for group in group_of.values()):
        share = float(np.mean([group_of[a] == group_of[b] for a, b in realised if b in group_of]))
    found = {"possible": count * (count - 1), "realised": len(realised), "useful": len(useful)}
    return found, share
