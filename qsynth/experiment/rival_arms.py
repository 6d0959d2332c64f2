"""Run and score the arms that exchange weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qsynth.config.run import RunConfig
from qsynth.data import DataSet
from qsynth.errors import ConfigError
from qsynth.evaluation.evaluate import Evaluator, Score
from qsynth.experiment.build import build
from qsynth.experiment.lone_arms import Features
from qsynth.model import make_network
from qsynth.placement.config import Simulate
from qsynth.rivals.heads import run_heads
from qsynth.rivals.messengers import public_samples
from qsynth.rivals.replica import Replica
from qsynth.rivals.weights import (
    DEGREE,
    check_architectures,
    check_embeddings,
    regular_graph,
    run_weights,
    true_groups,
)
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import Floats

CURVE_ROUNDS = (1, 2, 5, 10, 20, 50, 100, 200)  # and the last: where accuracy is measured
HEADS = ("fedavg_head", "fedavg_head_oracle")
POOLED = (
    "fedavg",
    "fedavg_oracle",
    "gossip",
    *HEADS,
)  # what they learn has the label shares of the pool


def check_rival(plan: RunPlan, name: str) -> None:
    """Raise ConfigError where the fleet or the partition cannot have this arm."""
    if not plan.data.task.classified:
        raise ConfigError(f"arms={name}: for classes, the data hold {plan.data.task.kind}")
    if "oracle" in name:
        true_groups(plan)
    if name == "fedproto":
        check_embeddings([make_network(node.model, plan.data.task) for node in plan.nodes])
    elif name == "sqmd":
        public_samples(plan)
    elif name not in HEADS:
        check_architectures(plan, name)
    if len(plan.nodes) < 2:
        raise ConfigError(f"arms={name}: needs at least two nodes")


def run_rival(config: RunConfig, name: str, data: DataSet, features: Features) -> dict[str, Any]:
    """Run an arm that exchanges weights; return scores by node, bytes, and a curve of both.

    Raises ConfigError where the fleet or the partition cannot have it.
    """
    plan = build(replace(config, placement=Simulate(), baselines=()), Path(), data)
    evaluator = Evaluator(plan, features)
    groups = [[node.index for node in plan.nodes]]
    if "oracle" in name:
        groups = true_groups(plan)
    priors = _pool_priors(plan, _neighbourhoods(plan) if name == "gossip" else groups)
    honest = {node.name for node in plan.nodes if node.share.honest}
    rounds = plan.trainer.periods
    curve: list[list[float]] = []
    last: dict[str, Any] = {}

    def keep(scores: dict[str, Score], sent: float) -> None:
        curve.append(
            [sent, float(np.mean([s.own for node, s in scores.items() if node in honest]))]
        )
        last.update(scores=scores, bytes_per_node=sent)

    def watch_weights(number: int, replicas: list[Replica], sent: float) -> None:
        if number in CURVE_ROUNDS or number == rounds:
            scores = {}
            for replica in replicas:
                node = replica.node
                if name in POOLED:
                    logits = evaluator.network_logits(node, replica.network)
                    scores[node.name] = _pooled_score(evaluator, node, logits, priors[node.index])
                else:
                    scores[node.name] = evaluator.score(node, replica.network, None)
            keep(scores, sent)

    def watch_heads(number: int, heads: list[Tensor], sent: float) -> None:
        if number in CURVE_ROUNDS or number == rounds:
            scores = {}
            for node, head in zip(plan.nodes, heads, strict=True):
                d = len(head) - 1
                inner = torch.from_numpy(evaluator.test_features(node)[:, :d])
                logits = (inner @ head[:d] + head[d]).double().numpy()
                scores[node.name] = _pooled_score(evaluator, node, logits, priors[node.index])
            keep(scores, sent)

    if name in HEADS:
        run_heads(plan, groups, watch_heads)
    else:
        run_weights(plan, name, watch_weights)
    scores = {node: score.figures() for node, score in last["scores"].items()}
    return {"scores": scores, "bytes_per_node": last["bytes_per_node"], "curve": curve}


def _neighbourhoods(plan: RunPlan) -> list[list[int]]:
    """Return each node with its neighbours in the gossip graph, itself first."""
    graph = regular_graph(len(plan.nodes), DEGREE, plan.seed)
    return [[node, *neighbours] for node, neighbours in enumerate(graph)]


def _pool_priors(plan: RunPlan, groups: list[list[int]]) -> dict[int, Floats]:
    """Return, by node, the log label shares of the training data that its network has met.

    groups: of nodes that share weights, or, one for each node, the node and its neighbours.
    """
    priors = {}
    own = len(groups) == len(plan.nodes)
    for group in groups:
        counts = np.sum([_counts(plan, plan.nodes[index]) for index in group], axis=0) + 0.5
        for index in group[:1] if own else group:
            priors[index] = np.log(counts / counts.sum())
    return priors


def _counts(plan: RunPlan, node: NodePlan) -> Floats:
    labels = plan.samples(node).train_y
    return np.bincount(labels, minlength=plan.data.task.classes).astype(np.float64)


def _pooled_score(evaluator: Evaluator, node: NodePlan, logits: Floats, pool: Floats) -> Score:
    """Return the score of logits that follow the pool's label shares: the node's are put in."""
    own = np.log(evaluator.own_shares(node) + 1e-9)
    labels = evaluator.test_labels(node)
    return evaluator.score_answers(node, labels, logits - pool + own, logits - pool, logits, pool)
