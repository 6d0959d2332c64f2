"""The arms of a comparison: one recipe, the same seeds and optimizer steps, other company.

`config/run.py` names them; here stands what makes the arms with a mesh, and how they are run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.config.run import UNGATED, RunConfig, find_arm
from qsynth.data import DataSet
from qsynth.errors import RunError
from qsynth.evaluation.evaluate import Evaluator
from qsynth.experiment.build import build
from qsynth.experiment.lone_arms import Features
from qsynth.experiment.summary import mesh_scores, read_results
from qsynth.peers.all import AllPeers
from qsynth.peers.base import first_k, floor_of
from qsynth.peers.central import Central
from qsynth.peers.dissimilar import Dissimilar
from qsynth.peers.none import NoPeers
from qsynth.peers.oracle import Oracle
from qsynth.peers.random import RandomPeers
from qsynth.peers.semantic import FIRST_K
from qsynth.pipeline.predictor import Predictor
from qsynth.placement.config import Simulate
from qsynth.schema import changes
from qsynth.similarity import fingerprint_size
from qsynth.simulation.simulate import simulate
from qsynth.training.plan import NodePlan, RunPlan

CONTACT_BYTES = 110  # of a contact beside its fingerprint: id, address, version


Change = Callable[[RunConfig], RunConfig]


def _with_peers(make: Callable[[int], Any]) -> Change:
    return lambda config: replace(config, peers=make(_k(config)))


def _k(config: RunConfig) -> int:
    """Return how many peers the recipe has, and no more than there are."""
    others = config.nodes - 1
    return max(1, min(first_k(config.peers) or FIRST_K, others))


def _central(config: RunConfig) -> RunConfig:
    floor = floor_of(config.peers)
    least = Central().min_similarity if floor is None else floor
    return replace(config, peers=Central(k=_k(config), min_similarity=least))


def _head(config: RunConfig) -> RunConfig:
    """As many periods of one step each: the head needs no network."""
    periods = config.trainer.periods
    trainer = replace(config.trainer, max_steps=periods, period_steps=1)
    teach = replace(config.synthesis.teach, weight=0.0)
    synthesis = replace(config.synthesis, teach=teach, head_weight=1.0)
    return replace(config, trainer=trainer, synthesis=synthesis)


def _untaught(config: RunConfig) -> RunConfig:
    teach = replace(config.synthesis.teach, weight=0.0)
    return replace(config, synthesis=replace(config.synthesis, teach=teach))


def _silent(config: RunConfig) -> RunConfig:
    return replace(config, partition=replace(config.partition, liars_publish=False))


# What makes each arm of the kind `mesh` of a recipe's config.
CHANGES: dict[str, Change] = {
    "semantic": lambda config: config,
    "semantic_untaught": _untaught,
    "head": _head,
    "silent": _silent,
    "random": _with_peers(lambda k: RandomPeers(k=k)),
    "dissimilar": _with_peers(lambda k: Dissimilar(k=k)),
    "all": lambda config: replace(config, peers=AllPeers()),
    "oracle": _with_peers(lambda k: Oracle(k=k)),
    "central": _central,
}


def mesh_config(config: RunConfig, name: str) -> RunConfig:
    """Return the config of a mesh arm: all of them run in `simulate`, with the real packets."""
    change = CHANGES[name.removesuffix(UNGATED)]
    changed = replace(change(config), placement=Simulate(), baselines=())
    changed = replace(changed, trainer=replace(changed.trainer, curve_points=0))
    if name.endswith(UNGATED):
        changed = replace(changed, synthesis=replace(changed.synthesis, gate="none"))
    return changed


def arm_values(config: RunConfig, name: str) -> dict[str, Any]:
    """Return all of a config that the figures of an arm depend on."""
    unused = ["name", "recipe", "folder", "baselines", "placement"]
    if find_arm(name).kind == "mesh":
        values: dict[str, Any] = changes(mesh_config(config, name))
    else:
        values = changes(config)
        unused += ["peers", "trust", "attack", "dht", "mesh", "similarity", "synthesis"]
    if config.synthesis.balanced:
        values["judged"] = "balanced"
    if not config.attack.share:
        unused.append("attack")
    for key in unused:
        values.pop(key, None)
    return values


def run_mesh(config: RunConfig, name: str, data: DataSet, features: Features) -> dict[str, Any]:
    """Run a mesh arm in this process; return scores by node and what they cost.

    data: of `config.data`.  features: of its test inputs, shared by all arms.
    Raises RunError where a node has failed.
    """
    changed = mesh_config(config, name)
    with tempfile.TemporaryDirectory(prefix="qsynth-arm-") as folder:
        plan = build(changed, Path(folder), data)
        evaluator = Evaluator(plan, features)
        timeline = Timeline(plan, evaluator)
        times = simulate(plan, timeline if any(map(plan.changes, plan.nodes)) else None)
        results = read_results(plan)
        if len(results) < len(plan.nodes):
            raise RunError(f"arm {name}: {len(plan.nodes) - len(results)} nodes have failed")
        scores = mesh_scores(plan, list(plan.nodes), evaluator)
    sent: dict[str, int] = {}
    for result in results.values():
        for kind, counts in result["traffic"].items():
            sent[kind] = sent.get(kind, 0) + counts["bytes"]
    total = sum(sent.values()) / len(results)
    if isinstance(changed.peers, Central):
        # An index in one place: one contact up, k down, and the packets.
        size = fingerprint_size(changed.similarity, plan.data.task.classes) + CONTACT_BYTES
        total = sent.get("fetch", 0) / len(results) + size * (1 + changed.peers.k)
    if isinstance(changed.peers, NoPeers):
        total = 0.0
    return {
        "scores": {node: score.figures() for node, score in scores.items()},
        "bytes_per_node": total,
        "packet_bytes": float(np.mean([r["packet_bytes"] for r in results.values()])),
        "authors": float(np.mean([len(r["authors"]) for r in results.values()])),
        "used": float(np.mean([len(r["used"]) for r in results.values()])),
        "cpu_s": times["cpu_s"],
        "timeline": timeline.means(),
    }


class Timeline:
    """Own accuracy of the nodes whose data change, period by period, as their data are then."""

    def __init__(self, plan: RunPlan, evaluator: Evaluator) -> None:
        self.plan, self.evaluator = plan, evaluator
        self.scores: dict[int, list[float]] = {}

    def __call__(self, node: NodePlan, period: int, predictor: Predictor) -> None:
        """Score a predictor at the end of a period."""
        if not self.plan.changes(node) or not node.share.honest:
            return
        now = self.plan.at(node, period)
        score = self.evaluator.score(now, predictor.network, predictor)
        self.scores.setdefault(period, []).append(score.own)

    def means(self) -> list[list[float]] | None:
        """Return [period, mean own accuracy], or None where nothing changes."""
        made = [[float(p), float(np.mean(own))] for p, own in sorted(self.scores.items())]
        return made or None
