"""The arms without a mesh: `local` (the plain network), `alone` (the pipeline, no peers), ...

`linear` is a linear model on own inputs.

`taught`, `untaught` and `boosted` are `alone` with every head weight: as configured, with no
teaching, and with a network that learns what the head's scores lack;
`pooled` is `alone` with the data of the node's whole group in one place.

Their nodes do not talk, so each is a fit of its own; they run in as many processes as there are
cores, and an arm that has finished once is kept by the hash of all that it depends on.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qsynth.encoder.projection import cache_folder
from qsynth.errors import ConfigError
from qsynth.evaluation.curve_file import Point
from qsynth.evaluation.curves import Curve
from qsynth.evaluation.evaluate import Evaluator, Score
from qsynth.evaluation.gain import packed
from qsynth.files import write_json
from qsynth.host.plan_node import make_participant
from qsynth.pipeline.participant import Lonely
from qsynth.schema import changes
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.head_rule import HeadRule, Teach
from qsynth.training.fit import begin_worker, fit, no_exchange, quietly
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import Floats32, config_digest

RULES_VERSION = 13  # raise it when training, synthesis or evaluation changes: kept arms expire
HEAD_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # tried for the best setting alone
Features = dict[int, Floats32]
Measured = Callable[
    [str, int, int], None
]  # an arm, how many of its nodes are done, and of how many
_shared: list[tuple[RunPlan, Evaluator]] = []  # what forked workers inherit


def unseen(arm: str, done: int, of: int) -> None:
    """Tell nobody how far an arm is."""


def run_arm(
    plan: RunPlan, arm: str, features: Features | None = None, measured: Measured = unseen
) -> dict[str, Any]:
    """Return scores by node name and CPU seconds of an arm, from the cache where it is there.

    `scores` holds the arm as configured; `settings` the same for every setting that is tried.
    features: of the test inputs, shared between plans of the same data.  measured: called as the
    nodes of an arm that must be run are done.
    """
    plan = unlogged(plan)
    if arm != "alone":
        plan = unwatched(plan)
    return kept(f"{arm}-{arm_digest(plan, arm).hex()}", lambda: _run(plan, arm, features, measured))


def unlogged(plan: RunPlan) -> RunPlan:
    """Return the plan without a logger: what it has written stays that of the mesh."""
    return replace(plan, trainer=replace(plan.trainer, logger="none"))


def unwatched(plan: RunPlan) -> RunPlan:
    """Return the plan without predictors kept on the way."""
    return replace(plan, trainer=replace(plan.trainer, curve_points=0))


def kept(name: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `run` gives, or gave the last time under this name."""
    stored = _read(name)
    if stored is not None:
        return stored | {"cached": True}
    began = time.monotonic()
    result = run() | {"wall_s": time.monotonic() - began}
    path = _path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return result | {"cached": False}


def is_kept(name: str) -> bool:
    """Return whether an arm has been run under this name."""
    return _read(name) is not None


def _path(name: str) -> Path:
    return cache_folder() / "arms" / f"{name}.json"


def _read(name: str) -> dict[str, Any] | None:
    try:
        stored: dict[str, Any] = json.loads(_path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # not there, or torn: run it
    return stored


def _run(plan: RunPlan, arm: str, features: Features | None, measured: Measured) -> dict[str, Any]:
    _shared[:] = [(plan, Evaluator(plan, features))]
    workers = min(os.cpu_count() or 1, len(plan.nodes))
    tasks = [(index, arm) for index in range(len(plan.nodes))]
    try:
        # Forked: data and imports are shared; nothing here opens a socket.
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(workers, context, initializer=begin_worker) as pool:
            results = []
            measured(arm, 0, len(tasks))
            for result in pool.map(_one, tasks):
                results.append(result)
                measured(arm, len(results), len(tasks))
    finally:
        _shared.clear()
    settings: dict[str, dict[str, Any]] = {}
    parts: dict[str, str] = {}
    for node, (scores, *_) in zip(plan.nodes, results, strict=True):
        for label, score in scores.items():
            settings.setdefault(label, {})[node.name] = score.figures()
        as_configured = next(iter(scores.values()), None)
        if as_configured is not None and as_configured.parts is not None:
            parts[node.name] = packed(as_configured.parts)
    return {
        "scores": next(iter(settings.values()), {}),
        "parts": parts,
        "settings": settings,
        "cpu_s": sum(r[1] for r in results),
        "curves": {node.name: r[2] for node, r in zip(plan.nodes, results, strict=True)},
    }


def _one(task: tuple[int, str]) -> tuple[dict[str, Score], float, list[Point]]:
    """Return a node's scores by setting, the arm as configured first, CPU seconds, and a curve."""
    plan, evaluator = _shared[0]
    node, arm = plan.nodes[task[0]], task[1]
    began = time.process_time()
    if arm == "local":
        network = quietly(lambda: fit(plan, node, no_exchange))
        cpu = time.process_time() - began
        return {"local": evaluator.score(node.final, network, None)}, cpu, []
    if arm == "linear":
        score = evaluator.linear_score(node.final)
        return {"linear": score}, time.process_time() - began, []
    if arm == "untaught":
        plan = untaught(plan)
    if arm == "boosted":
        if not plan.data.task.classified:
            return {}, 0.0, []  # what a map lacks is no offset of log-probabilities
        plan = boosted(plan)
    if arm == "pooled":
        plan = pooled(plan, node)
    learner = plan.nodes[node.index]
    participant = make_participant(plan, learner, Lonely())
    curve = Curve(plan, learner, evaluator, participant)
    try:
        network = quietly(lambda: fit(plan, learner, curve.exchange))
    except ConfigError:
        if arm != "boosted":
            raise
        return {}, time.process_time() - began, []  # a module that cannot be boosted
    predictor = participant.predictor(network)
    cpu = time.process_time() - began - curve.cpu_s
    if arm in ("alone", "pooled"):
        score = evaluator.scores(node.final, network, [predictor], arm == "pooled")[0]
        return {arm: score}, cpu, curve.ended(predictor)
    synthesis = participant.synthesized()
    tried = [
        predictor,
        *(participant.pipeline.predictor(network, synthesis, w) for w in HEAD_WEIGHTS),
    ]
    labels = [arm, *(f"{arm} w={w:g}" for w in HEAD_WEIGHTS)]
    # Many settings: what each sample adds is not carried to another process.
    measured = [replace(s, parts=None) for s in evaluator.scores(node.final, network, tried)]
    scores = dict(zip(labels, measured, strict=True))
    if arm == "untaught":
        scores["local"] = replace(evaluator.score(node.final, network, None), parts=None)
    return scores, cpu, []


def untaught(plan: RunPlan) -> RunPlan:
    """Return the plan with networks that no head teaches."""
    changed = plan.rules.synthesis.untaught()
    return replace(plan, rules=replace(plan.rules, synthesis=changed))


def boosted(plan: RunPlan) -> RunPlan:
    """Return the plan with networks that learn what their own heads lack."""
    synthesis = plan.rules.synthesis
    if isinstance(synthesis, HeadRule):
        changed: HeadRule = replace(synthesis, network="boost", teach=Teach())
    else:
        changed = AnalyticHead(d=synthesis.d, head_weight=synthesis.head_weight, network="boost")
    return replace(plan, rules=replace(plan.rules, synthesis=changed))


def pooled(plan: RunPlan, node: NodePlan) -> RunPlan:
    """Return the plan with the data of the node's true group (of all, without groups) in it."""
    group = node.final.share.group
    everyone = [other.final.share for other in plan.nodes]
    mates = [s for s in everyone if s.group == group and s.honest == node.share.honest]
    share = replace(
        node.final.share,
        train=np.sort(np.concatenate([mate.train for mate in mates])),
        validation=np.sort(np.concatenate([mate.validation for mate in mates])),
        unlabelled=np.sort(np.concatenate([mate.unlabelled for mate in mates])),
    )
    nodes = list(plan.nodes)
    nodes[node.index] = replace(node, share=share)
    return replace(plan, nodes=tuple(nodes))


def source_digests(configs: Sequence[Any]) -> list[str]:
    """Return what tells whether code of the user's own, which configs name, has changed."""
    return [_source_digest(getattr(config, "target", "")) for config in configs]


def _source_digest(target: str) -> str:
    if not target:
        return ""
    module = importlib.import_module(target.rpartition(".")[0])
    source = getattr(module, "__file__", None)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""


def arm_digest(plan: RunPlan, arm: str) -> bytes:
    """Return the hash of all that an arm's figures depend on."""

    def node_values(node: NodePlan) -> list[Any]:
        return [
            node.name,
            node.model.__class__.__name__,
            changes(node.model),
            node.seed,
            config_digest(node.share.train.tolist()).hex(),
            config_digest(node.share.validation.tolist()).hex(),
            config_digest(node.share.audit.tolist()).hex(),
            config_digest(node.share.unlabelled.tolist()).hex(),
            node.share.group,
            node.share.site,
            *source_digests([node.model]),
            str(plan.drift_period),
            list(node.share.ends),
            changes(plan.growth),
            node.share.later is not None and config_digest(node.share.later.train.tolist()).hex(),
            node.share.quarter_turns,
            node.share.label_map.tolist(),
        ]

    values = {
        "arm": arm,
        "rules": RULES_VERSION,
        "torch": torch.__version__,
        "lightning": version("pytorch-lightning"),
        "data": plan.data.digest().hex(),
        "batch_size": plan.batch_size,
        "trainer": changes(plan.trainer),
        "nodes": [node_values(node) for node in plan.nodes],
    }
    if arm not in ("local", "linear"):
        values["encoder"] = plan.encoder.digest.hex()
        rules = plan.rules
        values["pipeline"] = [changes(rules.distill), changes(rules.synthesis)]
    if arm == "boosted" and plan.rules.synthesis.balanced:
        values["judged"] = "balanced"
    return config_digest(values)
