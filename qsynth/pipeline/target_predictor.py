"""The predictor of tasks of labels and values: a weighted mean of network and head."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from qsynth.encoder import Encoder
from qsynth.pipeline.predictor import MIN_VALIDATION, WEIGHTS, Predictor, answered
from qsynth.types import LABELS, Floats, Task

COVERED = 0.9  # of the samples, by the interval of a value
LEAST = 1e-3  # of a probability, where its logarithm is taken


class TargetPredictor(Predictor):
    """Answer with the weighted mean of the node's network and its synthesized head.

    Returns (n, K) probabilities that each label holds, or values in the task's own units.
    """

    def forward(
        self, inputs: Tensor, prior: str | Tensor = "own", mask: Tensor | None = None
    ) -> Tensor:
        """Return (n, K) probabilities or values; prior and mask mean nothing here."""
        inputs = self.seen(inputs)
        answers = self.combine(self.network_logits(inputs), self.head_scores(inputs), prior)
        if self.task.kind == LABELS:
            return answers
        spread = answers.new_tensor(self.task.target_scale or (1.0,))
        return answers * spread + answers.new_tensor(self.task.target_location or (0.0,))

    def set_width(self, answers: Floats, targets: Floats) -> None:
        """Take the distance that nine in ten answers (n, K) keep from their targets.

        The quantile of split conformal prediction (Lei 2018, section 2.2); the samples have chosen
        the head's weight as well, so that it is a little too narrow.
        """
        place = math.ceil(COVERED * (len(answers) + 1))
        if place <= len(answers):
            far = np.sort(np.abs(answers - targets), axis=0)[place - 1]
            self.half_width.copy_(torch.from_numpy(far))  # type: ignore[operator]

    def combine(self, logits: Tensor, scores: Tensor | None, prior: str | Tensor) -> Tensor:
        """Return (n, K) probabilities, or values in units of the task's target scale."""
        weight: Tensor = self.head_weight  # type: ignore[assignment]
        known = answered(logits)
        if self.task.kind == LABELS:
            logits = torch.sigmoid(logits)
            scores = None if scores is None else scores.clamp(0.0, 1.0)
        if scores is None:
            return logits
        return torch.where(known, (1.0 - weight) * logits + weight * scores, scores)


def make_predictor(network: nn.Module, encoder: Encoder | None, task: Task) -> Predictor:
    """Return the predictor of a task's kind."""
    kind = Predictor if task.classified else TargetPredictor
    return kind(network, encoder, task)


def fit_mean(
    network: Floats, head: Floats, targets: Floats, labels: bool, weight: float | None
) -> float:
    """Return the head's weight: the one with the least loss of validation samples.

    network, head: (n, K) outputs, of samples that nothing else has seen: logits of the network and
    scores of the head.  labels: whether the targets are 0 and 1.  weight: fixed by the config, or
    None: .5 below MIN_VALIDATION samples.
    """
    if weight is not None or len(targets) < MIN_VALIDATION:
        return 0.5 if weight is None else weight
    if labels:
        network, head = expit(network), np.clip(head, 0.0, 1.0)

    def loss(w: float) -> float:
        answers = (1.0 - w) * network + w * head
        if not labels:
            return float(np.square(answers - targets).mean())
        sure = np.clip(np.where(targets > 0.5, answers, 1.0 - answers), LEAST, 1.0)
        return float(-np.log(sure).mean())

    return min(WEIGHTS, key=loss)
