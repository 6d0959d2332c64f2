"""Measure predictors on the test set.  Only `run` knows true groups, and only afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from qsynth.placement.plan import NodePlan, Plan
from qsynth.synthesis import Predictor
from qsynth.types import Floats, Floats32, Ints

BATCH = 500


@dataclass(frozen=True)
class Score:
    """Hold a node's accuracies, fractions of 1.

    own: of the predictor, on the node's own label distribution.  group: the same on the uniform
    labels of its true group, with a uniform prior; None without true groups.
    network_own: of the network alone.
    """

    own: float
    group: float | None
    network_own: float


class Evaluator:
    """Score nodes of a plan; test features are computed once for each way of seeing them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._features: dict[int, Floats32] = {}
        self._group_labels = _group_labels(plan)

    def score(self, node: NodePlan, network: nn.Module, predictor: Predictor | None) -> Score:
        """Return the accuracies of a node's network and predictor (None: the network alone)."""
        plan, share = self.plan, node.share
        rows = self._rows(node)
        inputs = share.inputs(plan.data.test_x[rows])
        labels = share.labels(plan.data.test_y[rows])
        logits = _logits(network, inputs)
        weights = self._own_weights(node, labels)
        network_own = _accuracy(logits, labels, weights)
        if predictor is None:
            prior = np.log(self._own_shares(node) + 1e-9)
            own, uniform = network_own, logits - prior
        else:
            scores = self._head_scores(node, predictor, rows)
            own = _accuracy(_answers(predictor, logits, scores, "own"), labels, weights)
            uniform = _answers(predictor, logits, scores, "uniform")
        return Score(own, self._group_accuracy(node, uniform, labels), network_own)

    def _rows(self, node: NodePlan) -> Ints:
        data, site = self.plan.data, node.share.site
        if site is not None and data.test_node is not None:
            return np.flatnonzero(data.test_node == site)
        return np.arange(len(data.test_y))

    def _head_scores(self, node: NodePlan, predictor: Predictor, rows: Ints) -> Floats:
        turns = node.share.quarter_turns
        if turns not in self._features:
            inputs = node.share.inputs(self.plan.data.test_x)
            self._features[turns] = self.plan.encoder.encode(inputs)
        weights: Any = predictor.head_weights
        bias: Any = predictor.head_bias
        scores: Floats = self._features[turns][rows] @ weights.numpy() + bias.numpy()
        return scores

    def _own_shares(self, node: NodePlan) -> Floats:
        share, data = node.share, self.plan.data
        mine = np.concatenate([share.train, share.validation, share.audit])
        counts = np.bincount(share.labels(data.train_y[mine]), minlength=data.task.classes)
        shares: Floats = counts / counts.sum()
        return shares

    def _own_weights(self, node: NodePlan, labels: Ints) -> Floats:
        if node.share.site is not None and self.plan.data.test_node is not None:
            return np.ones(len(labels))  # the site's own test samples are its distribution
        present = np.bincount(labels, minlength=self.plan.data.task.classes)
        ratio = self._own_shares(node) / np.maximum(present, 1)
        weights: Floats = ratio[labels]
        return weights

    def _group_accuracy(self, node: NodePlan, scores: Floats, labels: Ints) -> float | None:
        group = node.share.group
        if group is None:
            return None
        known = self._group_labels[group]
        scores = np.where(known, scores, -np.inf)
        rows = known[labels]
        counts = np.bincount(labels[rows], minlength=len(known))
        return _accuracy(scores[rows], labels[rows], 1.0 / counts[labels[rows]])


def summarise(scores: list[Score]) -> dict[str, Any]:
    """Return mean, worst and standard deviation of each accuracy over nodes."""
    groups = [score.group for score in scores if score.group is not None]
    network = _spread([score.network_own for score in scores])
    return {
        "own": _spread([score.own for score in scores]),
        "group": _spread(groups) if len(groups) == len(scores) else None,
        "network": {"own": {"mean": network["mean"], "worst": network["worst"]}},
    }


def _spread(values: list[float]) -> dict[str, float]:
    array = np.array(values)
    return {"mean": float(array.mean()), "worst": float(array.min()), "sd": float(array.std())}


def _group_labels(plan: Plan) -> dict[int, Any]:
    known: dict[int, Any] = {}
    for node in plan.nodes:
        if node.share.group is not None:
            labels = node.share.labels(plan.data.train_y[node.share.train])
            present = np.bincount(labels, minlength=plan.data.task.classes) > 0
            known[node.share.group] = known.get(node.share.group, False) | present
    return known


def _logits(network: nn.Module, inputs: Floats32) -> Floats:
    with torch.no_grad():
        parts = [network(part) for part in torch.from_numpy(inputs).split(BATCH)]
    logits: Floats = torch.cat(parts).double().numpy()
    return logits


def _answers(predictor: Predictor, logits: Floats, scores: Floats, prior: str) -> Floats:
    with torch.no_grad():
        answers = predictor.combine(torch.from_numpy(logits), torch.from_numpy(scores), prior)
    result: Floats = answers.numpy()
    return result


def _accuracy(scores: Floats, labels: Ints, weights: Floats) -> float:
    right = scores.argmax(axis=1) == labels
    return float((right * weights).sum() / weights.sum())
