"""Measures beside accuracy, which misleads where classes are rare.

An answer that is not a number, of a network whose training has diverged, is wrong in each of them,
and has no confidence.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from qsynth.synthesis.head import log_softmax
from qsynth.types import Floats, Ints

BINS = 15  # of confidence, equally wide


def right_answers(scores: Floats, labels: Ints) -> npt.NDArray[np.bool_]:
    """Return (n,) whether the largest of each row's (n, C) scores is that of its label."""
    right: npt.NDArray[np.bool_] = np.logical_and(scores.argmax(axis=1) == labels, _numbers(scores))
    return right


def _numbers(scores: Floats) -> npt.NDArray[np.bool_]:
    # Minus infinity is a score: that of a class which cannot be.
    none = np.isnan(scores) | np.isposinf(scores)
    numbers: npt.NDArray[np.bool_] = np.logical_not(none.any(axis=1))
    return numbers


def _known(scores: Floats) -> Floats:
    """Return (n, C) scores, equal ones where an answer is not a number."""
    return np.where(_numbers(scores)[:, None], scores, 0.0)


def balanced_accuracy(scores: Floats, labels: Ints, weights: Floats) -> float:
    """Return the mean recall over the classes that have weight.

    scores: (n, C).  weights: (n,) of the samples: a node's own label distribution.
    """
    right = right_answers(scores, labels)
    present = np.unique(labels[weights > 0])
    return float(np.mean([right[labels == c].mean() for c in present]))


def auroc(scores: Floats, labels: Ints, weights: Floats) -> float:
    """Return the mean area under the ROC curve over the classes that have weight.

    Each class against the other classes that have weight, from its log-probability.
    Source: Hand & Till 2001 use pairs of classes; this is the one-against-rest mean.
    """
    rows = weights > 0
    logs, labels = log_softmax(_known(scores[rows])), labels[rows]
    areas = []
    for c in np.unique(labels):
        positive = labels == c
        count = int(positive.sum())
        if count == len(labels):
            continue
        ranks = rankdata(logs[:, c])
        above = ranks[positive].sum() - count * (count + 1) / 2
        areas.append(above / (count * (len(labels) - count)))
    return float(np.mean(areas)) if areas else 1.0


def calibration_error(scores: Floats, labels: Ints, weights: Floats) -> float:
    """Return the expected calibration error: the mean gap of confidence and accuracy over bins.

    Source: Naeini 2015; Guo 2017, section 2.
    """
    confidence = np.exp(log_softmax(_known(scores)).max(axis=1))
    right = right_answers(scores, labels)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights * (confidence - right), BINS)
    return float(np.abs(gaps).sum() / weights.sum())
