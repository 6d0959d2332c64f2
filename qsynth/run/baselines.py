"""The arms without a mesh: `local` (the plain network) and `alone` (the pipeline, no peers).

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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from qsynth.encoder.projection import cache_folder
from qsynth.model.config import Module
from qsynth.node.participant import Lonely, Participant
from qsynth.node.recorder import write_json
from qsynth.placement.plan import NodePlan, Plan
from qsynth.placement.train import fit, make_study, no_exchange, quietly, single_threaded
from qsynth.run.evaluate import Evaluator, Score
from qsynth.types import config_digest

RULES_VERSION = 1  # raise it when training, synthesis or evaluation changes: kept arms expire
_shared: list[tuple[Plan, Evaluator]] = []  # what forked workers inherit


def run_arm(plan: Plan, arm: str) -> dict[str, Any]:
    """Return scores by node name and CPU seconds of an arm, from the cache where it is there."""
    path = cache_folder() / "arms" / f"{arm}-{_digest(plan, arm).hex()}.json"
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept | {"cached": True}
    except (OSError, ValueError):
        pass  # not there, or torn: run it
    began = time.monotonic()
    result = _run(plan, arm) | {"wall_s": time.monotonic() - began}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, result)
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
    return result | {"cached": False}


def _run(plan: Plan, arm: str) -> dict[str, Any]:
    _shared[:] = [(plan, Evaluator(plan))]
    workers = min(os.cpu_count() or 1, len(plan.nodes))
    tasks = [(index, arm) for index in range(len(plan.nodes))]
    try:
        # Forked: data and imports are shared; nothing here opens a socket.
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(workers, context, initializer=single_threaded) as pool:
            results = list(pool.map(_one, tasks))
    finally:
        _shared.clear()
    return {
        "scores": {node.name: asdict(r[0]) for node, r in zip(plan.nodes, results, strict=True)},
        "cpu_s": sum(r[1] for r in results),
    }


def _one(task: tuple[int, str]) -> tuple[Score, float]:
    plan, evaluator = _shared[0]
    node, arm = plan.nodes[task[0]], task[1]
    began = time.process_time()
    if arm == "local":
        network = quietly(lambda: fit(plan, node, no_exchange))
        cpu = time.process_time() - began
        return evaluator.score(node, network, None), cpu
    participant = Participant(make_study(plan, node), Lonely())
    network = quietly(lambda: fit(plan, node, participant.exchange))
    predictor = participant.predictor(network)
    cpu = time.process_time() - began
    return evaluator.score(node, network, predictor), cpu


def _source_digest(model: Any) -> str:
    """Return what tells whether the user's own module has changed since an arm was kept."""
    if not isinstance(model, Module):
        return ""
    module = importlib.import_module(model.target.rpartition(".")[0])
    source = getattr(module, "__file__", None)
    return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""


def _digest(plan: Plan, arm: str) -> bytes:
    def node_values(node: NodePlan) -> list[Any]:
        return [node.name, node.model.__class__.__name__, asdict(node.model), node.seed,
                config_digest(node.share.train.tolist()).hex(),
                config_digest(node.share.validation.tolist()).hex(),
                config_digest(node.share.audit.tolist()).hex(), node.share.group, node.share.site,
                _source_digest(node.model),
                node.share.quarter_turns, node.share.label_map.tolist()]  # fmt: skip

    values = {
        "arm": arm,
        "rules": RULES_VERSION,
        "torch": torch.__version__,
        "lightning": version("pytorch-lightning"),
        "data": plan.data.digest().hex(),
        "batch_size": plan.batch_size,
        "trainer": asdict(plan.trainer),
        "nodes": [node_values(node) for node in plan.nodes],
    }
    if arm != "local":
        values["encoder"] = plan.encoder.digest.hex()
        rules = plan.rules
        values["pipeline"] = [asdict(rules.distill), asdict(rules.synthesis)]
    return config_digest(values)
