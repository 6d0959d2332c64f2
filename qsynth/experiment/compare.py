"""Compare arms of one recipe over seeds: what a mesh is worth, against what it is worth alone."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import t as student

from qsynth.config.run import RunConfig, find_arm
from qsynth.data import DataSet, load_data
from qsynth.distill.reference_logits import reference_digest
from qsynth.evaluation.evaluate import Evaluator
from qsynth.experiment.arms import arm_values, run_mesh
from qsynth.experiment.build import build
from qsynth.experiment.lone_arms import (
    RULES_VERSION,
    Features,
    Measured,
    is_kept,
    kept,
    run_arm,
    source_digests,
)
from qsynth.experiment.rival_arms import check_rival, run_rival
from qsynth.placement.config import Simulate
from qsynth.training.fit import begin_worker, single_threaded
from qsynth.training.plan import RunPlan
from qsynth.types import config_digest

HARM = 0.01  # below best_alone by more than this, a node counts as harmed
LONE = ("taught", "untaught", "boosted")  # what `local`, `alone` and `best_alone` are made of
Say = Callable[[str], None]
# What forked workers inherit: the config, the data and the test features.
_shared: list[tuple[RunConfig, DataSet, Features]] = []


def compare(
    config: RunConfig, arms: Sequence[str], seeds: Sequence[int], say: Say, measured: Measured
) -> list[dict[str, Any]]:
    """Return a row for each arm, in the order given; arms that have been run are not run again.

    arms: checked by `check_arm`.  seeds: different.  say: called with a line whenever an arm of a
    seed is there.  measured: called as the nodes of an arm without a mesh are done.  Raises
    ConfigError for a rival that the fleet cannot have.
    """
    config = replace(config, placement=Simulate())
    single_threaded()
    data = load_data(config.data, config.task)
    plans = {seed: build(replace(config, seed=seed), Path(), data) for seed in seeds}
    for name in arms:
        if find_arm(name).kind == "weights":
            check_rival(plans[seeds[0]], name)
    features: Features = {}
    evaluator = Evaluator(plans[seeds[0]], features)
    for plan in plans.values():
        for node in plan.nodes:
            evaluator.test_features(node.final)
    results = _run_lone(plans, arms, features, say, measured)
    results |= _run_mesh(config, plans, arms, features, say)
    _keep_honest(results, plans)
    by = "balanced" if config.synthesis.balanced else "own"
    best = best_setting(by, *([results[arm, seed] for seed in seeds] for arm in LONE))
    reference = [_setting(results, best, seed) for seed in seeds]
    late = {node.name for node in plans[seeds[0]].nodes if node.begins is not None}
    rows = []
    for name in arms:
        runs = [_result(results, name, best, seed) for seed in seeds]
        row = {"arm": name, "seeds": list(seeds), **summarise_arm(runs, reference, by)}
        row |= summarise_newcomers(runs, reference, by, late)
        if name == "best_alone":
            row["setting"] = best
        rows.append(row)
    return rows


def _keep_honest(results: dict[tuple[str, int], dict[str, Any]], plans: dict[int, RunPlan]) -> None:
    """Leave nodes that lie about their labels out of every score."""
    for (_, seed), result in results.items():
        honest = {node.name for node in plans[seed].nodes if node.share.honest}
        for scores in (result["scores"], *result.get("settings", {}).values()):
            for name in set(scores) - honest:
                del scores[name]


def _run_lone(
    plans: dict[int, RunPlan], arms: Sequence[str], features: Features, say: Say, measured: Measured
) -> dict[tuple[str, int], dict[str, Any]]:
    """Run the arms without a mesh: each over all cores, node by node."""
    wanted = [*LONE, *(arm for arm in ("linear", "pooled") if arm in arms)]
    results = {}
    for seed, plan in plans.items():
        for arm in wanted:
            results[arm, seed] = run_arm(plan, arm, features, measured)
            say(_line(arm, seed, results[arm, seed]))
    return results


def _run_mesh(
    config: RunConfig, plans: dict[int, RunPlan], arms: Sequence[str], features: Features, say: Say
) -> dict[tuple[str, int], dict[str, Any]]:
    """Run the arms that communicate: one process each, as many at once as there are cores."""
    jobs = [(arm, seed) for arm in arms for seed in plans if find_arm(arm).kind != "lone"]
    first = next(iter(plans.values()))  # data and encoder are those of all seeds
    data = first.data
    common = {
        "rules": RULES_VERSION,
        "torch": torch.__version__,
        "lightning": version("pytorch-lightning"),
        "data": data.digest().hex(),
        "encoder": first.encoder.digest.hex(),
        "modules": source_digests([*(node.model for node in first.nodes), config.similarity]),
    }
    if config.distill.name == "reference_logits":  # a file may change under one name
        assert first.reference is not None
        common["public"] = reference_digest(first.reference).hex()
    names = {}
    for arm, seed in jobs:
        values = common | {"config": arm_values(replace(config, seed=seed), arm)}
        names[arm, seed] = f"{arm}-{config_digest(values).hex()}"
    results = {}
    missing = [job for job in jobs if not is_kept(names[job])]
    _shared[:] = [(config, data, features)]
    try:
        context = multiprocessing.get_context("fork")
        workers = max(1, min(os.cpu_count() or 1, len(missing)))
        with ProcessPoolExecutor(workers, context, initializer=begin_worker) as pool:
            running: dict[Future[dict[str, Any]], tuple[str, int]] = {
                pool.submit(_job, job, names[job]): job for job in missing
            }
            for done in as_completed(running):
                results[running[done]] = done.result()
                say(_line(*running[done], done.result()))
    finally:
        _shared.clear()
    for job in jobs:
        if job not in results:
            results[job] = kept(names[job], dict)
            say(_line(*job, results[job]))
    return results


def _job(job: tuple[str, int], name: str) -> dict[str, Any]:
    config, data, features = _shared[0]
    arm, seed = job
    run = run_mesh if find_arm(arm).kind == "mesh" else run_rival
    return kept(name, lambda: run(replace(config, seed=seed), arm, data, features))


def _line(arm: str, seed: int, result: dict[str, Any]) -> str:
    if not result["scores"]:
        return f"seed {seed}: {arm}: these networks cannot be"
    own = np.mean([score["own"] for score in result["scores"].values()])
    spent = "kept" if result["cached"] else f"{result['wall_s']:.0f} s"
    return f"seed {seed}: {arm}: {100 * own:.1f} ({spent})"


# -- what the scores say ---------------------------------------------------------------------


def best_setting(by: str, *arms: list[dict[str, Any]]) -> str:
    """Return the setting of the lonely pipeline whose mean over seeds is highest.

    by: the field of a score that is asked, own or balanced.  arms: for each lone arm its results of
    every seed, with `settings`.  It is chosen on the test set itself, which favours the baseline.
    """
    means: dict[str, float] = {}
    for runs in arms:
        for label in runs[0]["settings"]:
            reached = [_mean(run["settings"][label], by) for run in runs]
            means[label] = float(np.mean(reached))
    return max(means, key=lambda label: means[label])


def _setting(
    results: dict[tuple[str, int], dict[str, Any]], label: str, seed: int
) -> dict[str, Any]:
    for arm in LONE:
        settings = results[arm, seed]["settings"]
        if label in settings:
            found: dict[str, Any] = settings[label]
            return found
    raise KeyError(label)


def _result(
    results: dict[tuple[str, int], dict[str, Any]], name: str, best: str, seed: int
) -> dict[str, Any]:
    labels = {"local": "local", "alone": "taught", "best_alone": best}
    if name in labels:
        return {"scores": _setting(results, labels[name], seed), "bytes_per_node": 0.0}
    if name == "linear":
        return results[name, seed] | {"bytes_per_node": 0.0}
    if name == "pooled":
        return results[name, seed] | {"bytes_per_node": None}
    return results[name, seed]


def summarise_arm(
    runs: list[dict[str, Any]], reference: list[dict[str, Any]], by: str = "own"
) -> dict[str, Any]:
    """Return an arm's figures over seeds; gains are paired with the reference, node by node.

    runs: of each seed, with `scores` by node.  reference: scores by node of each seed.  by: the
    field that gains are of, own or balanced accuracy.
    """
    own = [_mean(run["scores"], "own") for run in runs]
    pairs = [
        [score[by] - base[node][by] for node, score in run["scores"].items()]
        for run, base in zip(runs, reference, strict=True)
    ]
    gains = [float(np.mean(pair)) for pair in pairs]
    low, high = interval(gains)
    nodes: dict[str, list[float]] = {}
    for run, pair in zip(runs, pairs, strict=True):
        for node, gain in zip(run["scores"], pair, strict=True):
            nodes.setdefault(node, []).append(gain)
    every = np.concatenate([np.array(pair) for pair in pairs])
    worst = [min(score["own"] for score in run["scores"].values()) for run in runs]
    carried = [run.get("bytes_per_node") for run in runs]
    return {
        "own_mean": float(np.mean(own)),
        "own_sd": float(np.std(own, ddof=1)) if len(own) > 1 else None,
        "own_worst": float(min(worst)),
        "group_mean": _over_seeds(runs, "group"),
        "network_mean": _over_seeds(runs, "network_own"),
        "gain_mean": float(np.mean(gains)),
        "gain_low": low,
        "gain_high": high,
        "harmed_share": float(np.mean(every < -HARM)),
        "bytes_per_node": None if None in carried else float(np.mean(carried)),  # type: ignore[arg-type]
        "packet_bytes": _mean_of(runs, "packet_bytes"),
        "own_worst_mean": float(np.mean(worst)),
        "group_worst": _worst(runs, "group"),
        "network_group_mean": _over_seeds(runs, "network_group"),
        "network_group_worst": _worst(runs, "network_group"),
        "worst_gain": float(every.min()),
        "worst_mean_gain": float(min(np.mean(gains) for gains in nodes.values())),
        "balanced_mean": _over_seeds(runs, "balanced"),
        "auroc_mean": _over_seeds(runs, "auroc"),
        "ece_mean": _over_seeds(runs, "ece"),
        "used_mean": _mean_of(runs, "used"),
        "gain_of": by,
        "timeline": np.mean([run["timeline"] for run in runs], axis=0).tolist()
        if runs[0].get("timeline")
        else None,
        "curve": np.mean([run["curve"] for run in runs], axis=0).tolist()
        if "curve" in runs[0]
        else None,
    }


def summarise_newcomers(
    runs: list[dict[str, Any]], reference: list[dict[str, Any]], by: str, late: set[str]
) -> dict[str, Any]:
    """Return the own accuracy and the gain of the nodes that came late; None without such."""
    pairs = [
        (score, base[node])
        for run, base in zip(runs, reference, strict=True)
        for node, score in run["scores"].items()
        if node in late
    ]
    return {
        "newcomer_own": float(np.mean([score["own"] for score, _ in pairs])) if pairs else None,
        "newcomer_gain": float(np.mean([s[by] - b[by] for s, b in pairs])) if pairs else None,
    }


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean by Student's t; None for fewer than two values."""
    if len(values) < 2:
        return None, None
    centre, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    wide = float(student.ppf(0.975, len(values) - 1)) * error
    return centre - wide, centre + wide


def _mean(scores: dict[str, dict[str, Any]], field: str) -> float:
    return float(np.mean([score[field] for score in scores.values()]))


def _over_seeds(runs: list[dict[str, Any]], field: str) -> float | None:
    values = [score[field] for run in runs for score in run["scores"].values()]
    return None if None in values else float(np.mean(values))


def _worst(runs: list[dict[str, Any]], field: str) -> float | None:
    values = [score[field] for run in runs for score in run["scores"].values()]
    return None if None in values else float(min(values))


def _mean_of(runs: list[dict[str, Any]], key: str) -> float | None:
    values = [run[key] for run in runs if run.get(key) is not None]
    return float(np.mean(values)) if values else None


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write `compare.json` (a list) and `compare.csv` (percentages are left as fractions)."""
    (folder / "compare.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    keys = [key for key in rows[0] if key not in ("seeds", "setting", "curve", "timeline")]
    lines = [",".join(keys)]
    for row in rows:
        lines.append(",".join("" if row[key] is None else f"{row[key]}" for key in keys))
    (folder / "compare.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
