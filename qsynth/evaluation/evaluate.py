"""Measure predictors on the test set.  Only `run` knows true groups, and only afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import nn

from qsynth.evaluation.gain import class_parts, target_parts
from qsynth.evaluation.linear import linear_answers
from qsynth.evaluation.metrics import auroc, balanced_accuracy, calibration_error, right_answers
from qsynth.evaluation.target_metrics import target_measures
from qsynth.model.outputs import network_outputs
from qsynth.pipeline.predictor import Predictor
from qsynth.synthesis.head import log_prior
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import LABELS, Floats, Floats32, Ints


@dataclass(frozen=True)
class Score:
    """Hold a node's accuracies, fractions of 1.

    own: of the predictor, on the node's own label distribution.  group: the same on the uniform
    labels of its true group, with a uniform prior; None without true groups.
    network_own, network_group: of the network alone (on top of the head's scores, where it has
    learned what they lack).
    balanced: mean recall over own classes, with
    a uniform prior where that is the objective.
    auroc: mean over own classes, one against the rest.  ece: expected calibration error.
    What these are for labels and values: `target_measures`.
    parts: (n,) what each of the node's test samples adds to `own`; None where nobody has kept it.
    """

    own: float
    group: float | None
    network_own: float
    balanced: float
    auroc: float
    ece: float
    network_group: float | None = None
    parts: Floats32 | None = field(default=None, repr=False, compare=False)

    def figures(self) -> dict[str, Any]:
        """Return all but the parts, as plain values."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parts"}


class Evaluator:
    """Score nodes as they are given: who has drifted is given as it is in the end.

    Test features are computed once for each way of seeing them.

    features: of the test inputs by quarter turns, to share between plans of the same data.
    most: test rows of a node, a drawn part of them where it has more; None: all.
    """

    def __init__(
        self, plan: RunPlan, features: dict[int, Floats32] | None = None, most: int | None = None
    ) -> None:
        self.plan, self.most = plan, most
        self._features = {} if features is None else features
        self._group_labels = _group_labels(plan)
        self.balanced = plan.rules.synthesis.balanced

    def sampled(self, most: int) -> Evaluator:
        """Return one that measures on `most` test rows of a node, with the same features."""
        return Evaluator(self.plan, self._features, most)

    def score(self, node: NodePlan, network: nn.Module, predictor: Predictor | None) -> Score:
        """Return the accuracies of a node's network and predictor (None: the network alone)."""
        return self.scores(node, network, [predictor])[0]

    def scores(
        self,
        node: NodePlan,
        network: nn.Module,
        predictors: Sequence[Predictor | None],
        own_shares: bool = False,
    ) -> list[Score]:
        """Return the accuracies of several predictors that share one network and one head.

        They differ in the head's weight and in temperatures alone.  own_shares: ask them for the
        node's own label shares, where they have been fitted to other ones.
        """
        labels, logits = self.test_labels(node), self.network_logits(node, network)
        if not self.plan.data.task.classified:
            return self._target_scores(node, labels, logits, predictors)
        wanted = torch.from_numpy(self.own_shares(node)) if own_shares else "own"
        head = next((p for p in predictors if p is not None), None)
        scores = None if head is None else self._head_scores(node, head)
        made = []
        for predictor in predictors:
            if predictor is None or scores is None:
                learned = self.learned_prior(node)
                uniform = logits - learned
                made.append(self.score_answers(node, labels, logits, uniform, logits, learned))
            else:
                own = _answers(predictor, logits, scores, wanted)
                uniform = _answers(predictor, logits, scores, "uniform")
                prior: Any = predictor.network_log_prior
                alone = _network_answers(predictor, logits, scores)
                made.append(self.score_answers(node, labels, own, uniform, alone, prior.numpy()))
        return made

    def _target_scores(
        self, node: NodePlan, targets: Any, outputs: Floats, predictors: Sequence[Predictor | None]
    ) -> list[Score]:
        """Return the scores of predictors of labels or values."""
        kind = self.plan.data.task.kind
        plain = expit(outputs) if kind == LABELS else outputs
        alone = target_measures(kind, plain, targets)["own"]
        head = next((p for p in predictors if p is not None), None)
        scores = None if head is None else self._head_scores(node, head)
        made = []
        for predictor in predictors:
            answers = plain
            if predictor is not None and scores is not None:
                answers = _answers(predictor, outputs, scores, "own")
            measures = target_measures(kind, answers, targets)
            grouped = node.share.group is not None
            group = measures["own"] if grouped else None
            made.append(
                Score(
                    group=group,
                    network_own=alone,
                    network_group=alone if grouped else None,
                    parts=target_parts(kind, answers, targets),
                    **measures,
                )
            )
        return made

    def score_answers(
        self,
        node: NodePlan,
        labels: Ints,
        own: Floats,
        uniform: Floats,
        network: Floats,
        learned: Floats,
    ) -> Score:
        """Return the score of (n, C) answers on the node's test rows.

        own, uniform: log-probabilities up to a constant of each row, under the node's own label
        shares and under uniform ones.  network: logits of the network alone.  learned: (C,) log
        label shares that these follow.
        """
        weights = self._own_weights(node, labels)
        return Score(
            own=_accuracy(own, labels, weights),
            group=self._group_accuracy(node, uniform, labels),
            network_own=_accuracy(network, labels, weights),
            balanced=balanced_accuracy(uniform if self.balanced else own, labels, weights),
            auroc=auroc(own, labels, weights),
            ece=calibration_error(own, labels, weights),
            network_group=self._group_accuracy(node, network - learned, labels),
            parts=class_parts(own, labels, weights),
        )

    def linear_score(self, node: NodePlan) -> Score:
        """Return the accuracies of a linear model on the node's own inputs."""
        inputs = node.share.inputs(self.plan.data.test_x[self.rows(node)])
        answers, labels = linear_answers(self.plan, node, inputs), self.test_labels(node)
        if self.plan.data.task.classified:
            learned = self.learned_prior(node)
            return self.score_answers(node, labels, answers, answers - learned, answers, learned)
        kind = self.plan.data.task.kind
        measures = target_measures(kind, answers, labels)
        group = None if node.share.group is None else measures["own"]
        return Score(
            group=group,
            network_own=measures["own"],
            network_group=group,
            parts=target_parts(kind, answers, labels),
            **measures,
        )

    def network_logits(self, node: NodePlan, network: nn.Module) -> Floats:
        """Return (n, C) logits of a network on the node's test rows."""
        return _logits(network, node.share.inputs(self.plan.data.test_x[self.rows(node)]))

    def test_labels(self, node: NodePlan) -> Any:
        """Return (n,) labels of the node's test rows, as it names them, or (n, K) targets."""
        return node.share.labels(self.plan.data.test_y[self.rows(node)])

    def test_features(self, node: NodePlan) -> Floats32:
        """Return (n, D) encoder features of the node's test rows."""
        turns = node.share.quarter_turns
        if turns not in self._features:
            inputs = node.share.inputs(self.plan.data.test_x[:])
            self._features[turns] = self.plan.encoder.encode_kept(inputs)
        return self._features[turns][self.rows(node)]

    def rows(self, node: NodePlan) -> Ints:
        """Return which test samples a node is measured on."""
        data, site = self.plan.data, node.share.site
        rows: Ints = np.arange(len(data.test_y))
        if site is not None and data.test_node is not None:
            rows = np.flatnonzero(data.test_node == site)
        if self.most is not None and len(rows) > self.most:
            rows = np.sort(np.random.default_rng(0).permutation(rows)[: self.most])
        return rows

    def _head_scores(self, node: NodePlan, predictor: Predictor) -> Floats:
        weights: Any = predictor.head_weights
        bias: Any = predictor.head_bias
        scores: Floats = self.test_features(node) @ weights.numpy() + bias.numpy()
        return scores

    def own_shares(self, node: NodePlan) -> Floats:
        """Return the (C,) label shares of all that a node has."""
        share, data = node.share, self.plan.data
        mine = np.concatenate([share.train, share.validation, share.audit])
        counts = np.bincount(share.labels(data.train_y[mine]), minlength=data.task.classes)
        shares: Floats = counts / counts.sum()
        return shares

    def learned_prior(self, node: NodePlan) -> Floats:
        """Return the (C,) log label shares of a node's training samples, smoothed."""
        labels = node.share.labels(self.plan.data.train_y[node.share.train])
        counts = np.bincount(labels, minlength=self.plan.data.task.classes)
        return log_prior(counts.astype(np.float64))

    def _own_weights(self, node: NodePlan, labels: Ints) -> Floats:
        if node.share.site is not None and self.plan.data.test_node is not None:
            return np.ones(len(labels))  # the site's own test samples are its distribution
        present = np.bincount(labels, minlength=self.plan.data.task.classes)
        ratio = self.own_shares(node) / np.maximum(present, 1)
        weights: Floats = ratio[labels]
        return weights

    def counted(self, node: NodePlan) -> npt.NDArray[np.bool_]:
        """Return (n,) which of a node's test rows its figures rest on."""
        labels = self.test_labels(node)
        if not self.plan.data.task.classified:
            return np.ones(len(labels), np.bool_)
        counted: npt.NDArray[np.bool_] = self._own_weights(node, labels) > 0.0
        return counted

    def _group_accuracy(self, node: NodePlan, scores: Floats, labels: Ints) -> float | None:
        # A group of liars alone has no labels that anybody would measure it on.
        known = self._group_labels.get(node.share.group)
        if known is None:
            return None
        # Of the group's classes alone; an answer that is no number stays none.
        scores = np.where(known | np.isnan(scores), scores, -np.inf)
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


def _group_labels(plan: RunPlan) -> dict[int | None, Any]:
    known: dict[int | None, Any] = {}
    if not plan.data.task.classified:
        return known
    for node in plan.nodes:
        if node.share.group is not None and node.share.honest:
            labels = node.share.labels(plan.data.train_y[node.share.train])
            present = np.bincount(labels, minlength=plan.data.task.classes) > 0
            known[node.share.group] = known.get(node.share.group, False) | present
    return known


def _logits(network: nn.Module, inputs: Floats32) -> Floats:
    # In evaluation mode, also in the middle of a fit: nothing of the test set may stay behind.
    logits: Floats = network_outputs(network, torch.from_numpy(inputs)).double().numpy()
    return logits


def _answers(
    predictor: Predictor, logits: Floats, scores: Floats, prior: str | torch.Tensor
) -> Floats:
    with torch.no_grad():
        answers = predictor.combine(torch.from_numpy(logits), torch.from_numpy(scores), prior)
    result: Floats = answers.numpy()
    return result


def _network_answers(predictor: Predictor, logits: Floats, scores: Floats) -> Floats:
    """Return (n, C) logits of the network, on top of the head where it has learned beside it."""
    if not bool(predictor.summed):
        return logits
    learned: Any = predictor.network_log_prior
    with torch.no_grad():
        answers = predictor.network_answers(
            torch.from_numpy(logits), torch.from_numpy(scores), learned
        )  # (n, C)
    result: Floats = answers.numpy()
    return result


def _accuracy(scores: Floats, labels: Ints, weights: Floats) -> float:
    right = right_answers(scores, labels)
    return float((right * weights).sum() / weights.sum())
