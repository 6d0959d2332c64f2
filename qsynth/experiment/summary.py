"""The summary of a run, from its folder alone: it can be made again by anyone who has it."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from typing import Any

import numpy as np

from qsynth.config.run import BASELINES
from qsynth.errors import printable
from qsynth.evaluation.curves import write_curves
from qsynth.evaluation.evaluate import Evaluator, Score, summarise
from qsynth.evaluation.gain import gains, unpacked
from qsynth.evaluation.linear import can_be_linear
from qsynth.experiment.lone_arms import Measured, run_arm, unseen
from qsynth.files import write_json
from qsynth.host.artifacts import read_predictor
from qsynth.peers.base import adds_statistics, first_k
from qsynth.report.events import all_events, ends, merge_events, node_ids, pairs, routing
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import VALUES

LOG_BYTES, MOST_SAID = 4096, 200  # of a log that is looked at; of its last line that is told
ERROR = re.compile(r"^[\w.]*(Error|Exception|Interrupt|Exit)\b")


def read_results(plan: RunPlan) -> dict[str, dict[str, Any]]:
    """Return what each node has left behind, by name; a killed node has left nothing."""
    results = {}
    for node in plan.nodes:
        try:
            text = (plan.node_folder(node) / "result.json").read_text(encoding="utf-8")
            result = json.loads(text)
        except (OSError, ValueError):
            continue
        if isinstance(result, dict) and "status" in result:
            results[node.name] = result
    return results


def summarise_run(
    plan: RunPlan,
    recipe: str | None,
    arms: tuple[str, ...],
    times: dict[str, Any],
    measured: Measured = unseen,
) -> dict[str, Any]:
    """Write and return `summary.json`.

    arms: baselines to compare with.  times: `wall_s`, `ended` (seconds since the epoch) and, for
    one process, `cpu_s`.  measured: called as the nodes of a baseline are done.
    """
    results, events = read_results(plan), all_events(plan.folder)
    merge_events(plan.folder, events)
    finished = [n for n in plan.nodes if n.name in results and _is_whole(plan, n)]
    finished = [n for n in finished if n.share.honest]
    evaluator = Evaluator(plan)
    scores = mesh_scores(plan, finished, evaluator)
    can_be = {arm for arm in BASELINES if arm != "linear" or can_be_linear(plan)}
    baselines = {arm: run_arm(plan, arm, measured=measured) for arm in arms if arm in can_be}
    # A runner that has died leaves no times; its nodes may be training still.
    ended = "wall_s" in times or len(results) == len(plan.nodes)
    alone = baselines.get("alone", {}).get("curves", {})
    write_curves(plan, finished, evaluator, alone, ended)
    summary = {
        "name": plan.name,
        "recipe": recipe,
        "seed": plan.seed,
        "placement": plan.placement.name,
        "transport": plan.mesh.name,
        "nodes": len(plan.nodes),
        "architectures": len({node.architecture for node in plan.nodes}),
        "failures": _failures(plan, results),
        "lost": [name for name, result in results.items() if result.get("network_lost")],
        "kind": plan.data.task.kind,
        "privacy": _privacy(results),
        "accuracy": summarise(list(scores.values())) if scores else None,
        "predictor": {"head_weight_mean": _mean([r["head_weight"] for r in results.values()])},
        **_compared(finished, scores, baselines, evaluator),
        **_counted(plan, results, events),
        "time": _times(times, results, baselines),
        "memory": {"node_mib_mean": _mean([r["memory_mib"] for r in results.values()])},
    }
    summary["per_node"] = _per_node(plan, results, scores, baselines, summary["gain"]["over_best"])
    table = _by_architecture(summary["kind"], finished, scores, baselines)
    write_json(plan.folder / "summary.json", summary | {"by_architecture": table})
    return summary | {"by_architecture": table}


def _is_whole(plan: RunPlan, node: NodePlan) -> bool:
    """Return whether a node has left a predictor, and not a torn one."""
    return zipfile.is_zipfile(plan.node_folder(node) / "predictor.pt")


def _failures(plan: RunPlan, results: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    failures = []
    for node in plan.nodes:
        result = results.get(node.name)
        if result is None:
            said = _last_words(plan, node)
            reason = f"ended before its result{': ' if said else ''}{said}"
            failures.append({"node": node.name, "reason": reason})
        elif result["status"] != "finished":
            last = (result.get("error") or "failed").strip().splitlines()[-1]
            failures.append({"node": node.name, "reason": last})
    return failures


def _last_words(plan: RunPlan, node: NodePlan) -> str:
    """Return the error that a node's log ends with, if it does."""
    try:
        log = (plan.node_folder(node) / "log.txt").read_bytes()[-LOG_BYTES:]
    except OSError:
        return ""
    text = log.decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    return printable(lines[-1])[:MOST_SAID] if lines and ERROR.match(lines[-1]) else ""


def mesh_scores(plan: RunPlan, nodes: list[NodePlan], evaluator: Evaluator) -> dict[str, Score]:
    """Return the scores of the predictors that nodes have left in the run folder."""
    scores = {}
    for node in nodes:
        predictor = read_predictor(plan, node)
        scores[node.name] = evaluator.score(node.final, predictor.network, predictor)
    return scores


def _scores_of(arm: dict[str, Any] | None, nodes: list[NodePlan]) -> list[Score] | None:
    if arm is None or not nodes:
        return None
    return [Score(**arm["scores"][node.name]) for node in nodes]


def _compared(
    nodes: list[NodePlan],
    scores: dict[str, Score],
    arms: dict[str, dict[str, Any]],
    evaluator: Evaluator,
) -> dict[str, Any]:
    """Return baselines and gains, over the nodes that have finished."""
    mesh = [scores[node.name] for node in nodes]
    base = {arm: _scores_of(arms.get(arm), nodes) for arm in BASELINES}
    local, alone = base["local"], base["alone"]
    network = {
        "over_local": _mean_gain(mesh, local, "network_own"),
        "over_self_taught": _mean_gain(mesh, alone, "network_own"),
    }
    return {
        "baseline": {arm: summarise(found) if found else None for arm, found in base.items()},
        "gain": {
            **{f"over_{arm}": _gains(mesh, found) for arm, found in base.items()},
            "over_best": _over_best(nodes, scores, arms, base, evaluator),
            "network": network,
        },
    }


def _over_best(
    nodes: list[NodePlan],
    scores: dict[str, Score],
    arms: dict[str, dict[str, Any]],
    base: dict[str, list[Score] | None],
    evaluator: Evaluator,
) -> dict[str, Any] | None:
    """Return the gain over the best of the baselines, with its interval; None without baselines.

    The best is chosen on the test set itself, which favours the baseline.
    """
    means = {arm: float(np.mean([s.own for s in found])) for arm, found in base.items() if found}
    if not means:
        return None
    arm = max(means, key=lambda name: means[name])
    mesh, alone, rows = {}, {}, {}
    for node in nodes:
        parts, told = scores[node.name].parts, evaluator.counted(node.final)
        assert parts is not None
        mesh[node.name] = parts[told]
        alone[node.name] = unpacked(arms[arm]["parts"][node.name])[told]
        rows[node.name] = evaluator.rows(node.final)[told]
    found = gains(mesh, alone, rows, len(evaluator.plan.data.test_y))
    return {"arm": arm, "of": len(nodes), **found}


def _differences(mesh: list[Score], base: list[Score], field: str) -> list[float] | None:
    values = [(getattr(a, field), getattr(b, field)) for a, b in zip(mesh, base, strict=True)]
    if any(a is None or b is None for a, b in values):
        return None
    return [a - b for a, b in values]


def _gains(mesh: list[Score], base: list[Score] | None) -> dict[str, Any] | None:
    if not base:
        return None
    gains: dict[str, Any] = {}
    for field in ("own", "group"):
        differences = _differences(mesh, base, field)
        gains[field] = differences and {
            "mean": float(np.mean(differences)),
            "worst": float(min(differences)),
        }
    return gains


def _mean_gain(mesh: list[Score], base: list[Score] | None, field: str) -> float | None:
    return _mean(_differences(mesh, base, field) or []) if base else None


def _privacy(results: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the guarantee, and what the node that has spent most has left; None without one."""
    told = [found for r in results.values() if (found := r.get("privacy")) is not None]
    return max(told, key=lambda each: each["spent"]) if told else None


def _sums(plan: RunPlan, results: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return what sums nodes hold in the end; None where peers are no sums."""
    if not adds_statistics(plan.peers):
        return None
    held = [result["sums"] for result in results.values()]
    return {
        "packets_mean": _mean([entry["packets"] for entry in held]),
        "authors_mean": _mean([entry["authors"] for entry in held]),
        "loss_max": max((entry["loss"] for entry in held), default=0.0),
        "audited": sum(r["counts"].get("audited_sums", 0) for r in results.values()),
        "bad": sum(r["counts"].get("bad_sum", 0) for r in results.values()),
    }


def _counted(
    plan: RunPlan, results: dict[str, dict[str, Any]], events: list[dict[str, Any]]
) -> dict[str, Any]:
    traffic: dict[str, Counter[str]] = {}
    rejected: Counter[str] = Counter()
    for result in results.values():
        rejected.update(result["rejected"])
        for kind, counts in result["traffic"].items():
            traffic.setdefault(kind, Counter()).update(counts)
    total = sum(counts["bytes"] for counts in traffic.values())
    periods = sum(event["event"] == "period" for event in events)
    sizes = [event["bytes"] for event in events if event["event"] == "publish"]
    found, share = pairs(results, events)
    found["possible"] = len(plan.nodes) * (len(plan.nodes) - 1)
    k = first_k(plan.peers)
    return {
        "packets": {
            "published": len(sizes),
            "fetched": sum(event["event"] == "fetch" for event in events),
            "admitted": sum(event["event"] == "admit" for event in events),
            "rejected": dict(rejected),
            "bytes_mean": _mean(sizes),
            "bytes_max": max(sizes, default=None),
        },
        "sums": _sums(plan, results),
        "cohorts": [event["members"] for event in events if event["event"] == "cohort"],
        "traffic": {
            "bytes_total": total,
            "bytes_per_node_per_period": total / periods if periods else None,
            "by_message": {kind: dict(counts) for kind, counts in sorted(traffic.items())},
        },
        "routing": routing(events, node_ids(events), k, ends(events, set(results)))
        | {"same_group_share": share},
        "pairs": found,
    }


def _times(
    times: dict[str, Any], results: dict[str, dict[str, Any]], arms: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    cpu = [result["cpu_s"] for result in results.values() if result["cpu_s"] is not None]
    return {
        "ended": times.get("ended"),
        "wall_s": times.get("wall_s"),
        "cpu_s": times.get("cpu_s") or (sum(cpu) if cpu else None),
        "cpu_s_local": arms["local"]["cpu_s"] if "local" in arms else None,
        "baseline_s": sum(arm["wall_s"] for arm in arms.values() if not arm["cached"]),
    }


def _per_node(
    plan: RunPlan,
    results: dict[str, dict[str, Any]],
    scores: dict[str, Score],
    arms: dict[str, dict[str, Any]],
    over_best: dict[str, Any] | None,
) -> list[dict[str, Any]]:
    """Return a row for each node: what it reached, over what, on how much, and what it sent."""
    rows = []
    for node in plan.nodes:
        score, result = scores.get(node.name), results.get(node.name)
        base = {arm: arms[arm]["scores"].get(node.name) for arm in arms}
        traffic = result["traffic"].values() if result else ()
        rows.append(
            {
                "name": node.name,
                "id": result["id"] if result else "",
                "architecture": node.architecture,
                "group": node.share.group,
                "own": score and score.own,
                "network": score and score.network_own,
                "group_accuracy": score and score.group,
                **{arm: base[arm]["own"] if base.get(arm) else None for arm in BASELINES},
                **_gain_of(node.name, over_best),
                "lost": bool(result and result.get("network_lost")),
                "bytes": sum(counts["bytes"] for counts in traffic),
            }
        )
    return rows


def _gain_of(name: str, over_best: dict[str, Any] | None) -> dict[str, Any]:
    """Return a node's gain over the best baseline; where few samples tell, with its interval."""
    entry = over_best["nodes"].get(name) if over_best else None
    if entry is None:
        return {"gain": None, "gain_low": None, "gain_high": None, "test_samples": None}
    return {
        "gain": entry["gain"],
        "gain_low": entry["low"],
        "gain_high": entry["high"],
        "test_samples": entry["samples"],
    }


def _by_architecture(
    kind: str, nodes: list[NodePlan], scores: dict[str, Score], arms: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return a row for each architecture: local, alone, mesh; predictor and network.

    kind: of the task.  Numbers have no probabilities, so no calibration error.
    """
    rows = []
    for architecture in dict.fromkeys(node.architecture for node in nodes):
        members = [node for node in nodes if node.architecture == architecture]
        row: dict[str, Any] = {"architecture": architecture, "nodes": len(members)}
        for arm in BASELINES:
            base = _scores_of(arms.get(arm), members)
            row[arm] = summarise(base) if base else None
        row["mesh"] = summarise([scores[node.name] for node in members])
        if kind != VALUES:
            row["mesh"]["calibration_error"] = _mean([scores[n.name].ece for n in members])
        rows.append(row)
    return rows


def _mean(values: list[Any]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None
