"""The arm `linear`: a linear model on a node's own inputs, the bar that every node should pass.

Logistic regression, or ridge regression for values, on standardised inputs, with the penalty that a
node's own samples choose: by its validation samples, or in four folds where these are few.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge

from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import LABELS, Floats, Floats32, Ints

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)  # C of scikit-learn: the penalty's inverse
ENOUGH = 20  # validation samples that choose a penalty alone
FOLDS = 4
LEAST_LOG = -20.0  # of a class that own samples do not hold
LEAST_SHARE = 2e-9  # of a class that they hold: its logarithm is no less
MOST_STEPS = 200  # of the solver

# Of a strength and some rows: gives the answers to inputs, log-probabilities or numbers.
Fit = Callable[[float, Floats, Any], Callable[[Floats], Floats]]


@dataclass(frozen=True)
class _Scaled:
    """Own inputs as a linear model takes them: standardised, in as few numbers as samples."""

    centre: Floats
    spread: Floats
    turn: Floats | None  # (features, samples): a penalty on all weights alike does not see it

    @classmethod
    def of(cls, inputs: Floats) -> _Scaled:
        """Learn place, spread and turn from (n, features) inputs."""
        centre, spread = inputs.mean(axis=0), inputs.std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        turn = None
        if inputs.shape[1] > len(inputs):
            turn = np.linalg.svd((inputs - centre) / spread, full_matrices=False)[2].T
        return cls(centre, spread, turn)

    def __call__(self, inputs: Floats32) -> Floats:
        """Return (n, d) of (n, *shape) inputs."""
        flat = inputs.reshape(len(inputs), -1).astype(np.float64)
        scaled: Floats = (flat - self.centre) / self.spread
        return scaled if self.turn is None else scaled @ self.turn


def can_be_linear(plan: RunPlan) -> bool:
    """Return whether inputs are numbers that a linear model can add up."""
    return plan.data.task.layout != "tokens"


def linear_answers(plan: RunPlan, node: NodePlan, inputs: Floats32) -> Floats:
    """Return (m, C) log-probabilities, (m, K) probabilities of labels, or (m, K) values.

    inputs: (m, *shape), as the node sees them.
    """
    samples, task = plan.samples(node.final), plan.data.task
    x = np.concatenate([samples.train_x, samples.validation_x])
    y = np.concatenate([samples.train_y, samples.validation_y])
    scale = _Scaled.of(x.reshape(len(x), -1).astype(np.float64))
    fit: Fit = _labels if task.kind == LABELS else _values
    if task.classified:
        classes = task.classes

        def fit(strength: float, features: Floats, targets: Any) -> Callable[[Floats], Floats]:
            return _classes(strength, features, targets, classes)

    known, kind = scale(x), task.kind if not task.classified else ""
    folds = list(_folds(len(samples.train_y), len(y)))

    def loss(strength: float) -> float:
        return float(
            np.mean(
                [
                    _loss(fit(strength, known[rest], y[rest])(known[fold]), y[fold], kind)
                    for rest, fold in folds
                ]
            )
        )

    best = min(STRENGTHS, key=loss)
    return fit(best, known, y)(scale(inputs))


def _folds(training: int, total: int) -> Iterator[tuple[Ints, Ints]]:
    """Return rows to fit and rows to choose by: own validation samples, or four folds."""
    rows = np.arange(total)
    if total - training >= ENOUGH:
        yield rows[:training], rows[training:]
        return
    place = np.random.default_rng(0).permutation(total) % min(FOLDS, total)
    for fold in range(min(FOLDS, total)):
        yield rows[place != fold], rows[place == fold]


def _loss(answers: Floats, targets: Any, kind: str) -> float:
    if not kind:
        return float(-answers[np.arange(len(targets)), targets].mean())
    if kind == LABELS:
        right = np.clip(np.where(targets > 0.5, answers, 1.0 - answers), 1e-6, 1.0)
        return float(-np.log(right).mean())
    return float(np.square(answers - targets).mean())


def _classes(
    strength: float, features: Floats, labels: Ints, classes: int
) -> Callable[[Floats], Floats]:
    present = np.unique(labels)

    def answers(inputs: Floats) -> Floats:
        logs = np.full((len(inputs), classes), LEAST_LOG)
        if len(present) == 1:
            logs[:, present] = 0.0
        else:
            logs[:, present] = np.log(np.maximum(model.predict_proba(inputs), LEAST_SHARE))
        return logs

    if len(present) > 1:
        model = _solved(LogisticRegression(C=strength, max_iter=MOST_STEPS), features, labels)
    return answers


def _labels(strength: float, features: Floats, targets: Floats32) -> Callable[[Floats], Floats]:
    columns = [
        _classes(strength, features, (column > 0.5).astype(np.int64), 2) for column in targets.T
    ]
    return lambda inputs: np.stack([np.exp(column(inputs)[:, 1]) for column in columns], axis=1)


def _values(strength: float, features: Floats, targets: Floats32) -> Callable[[Floats], Floats]:
    model = _solved(Ridge(alpha=1.0 / strength), features, targets.astype(np.float64))

    def answers(inputs: Floats) -> Floats:
        told: Floats = model.predict(inputs).reshape(len(inputs), -1)
        return told

    return answers


def _solved(model: Any, features: Floats, targets: Any) -> Any:
    with warnings.catch_warnings():
        # A solver that stops early under the weakest penalty loses the choice to another.
        warnings.simplefilter("ignore")
        return model.fit(features, targets)
