"""The head: a shrunken linear discriminant, solved from merged statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsynth.lazy import Deferred
from qsynth.packet import Statistics
from qsynth.types import Floats, Floats32, Ints

lapack = Deferred("scipy.linalg.lapack")
SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.9)
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.05, 2.0, 16))
PSEUDO_COUNT = 1.0  # of the grand mean in each class mean
UNSEEN = -30.0  # log-likelihood of a class that nobody has told of, beside the mean of all classes


@dataclass(frozen=True)
class Head:
    """Score (n, D >= d) features: discriminants times a temperature, before any prior.

    weights: (d, C).  bias: (C,).  unseen: (C,) classes without support, whose bias has UNSEEN in
    it; None: nobody asks any more.
    """

    weights: Floats
    bias: Floats
    unseen: npt.NDArray[np.bool_] | None = None

    @property
    def dimensions(self) -> int:
        """Return d."""
        return int(self.weights.shape[0])

    def scores(self, features: Floats32 | Floats) -> Floats:
        """Return (n, C) log-likelihoods up to a constant of each row."""
        result: Floats = (
            features[:, : self.dimensions].astype(np.float64, copy=False) @ self.weights
        )
        return result + self.bias

    def tempered(self, temperature: float) -> Head:
        """Return the head times a temperature; what nobody has seen stays unseen."""
        bias = self.bias * temperature
        if self.unseen is not None:
            bias = np.where(self.unseen, bias + UNSEEN * (1.0 - temperature), bias)
        return Head(self.weights * temperature, bias, self.unseen)

    @staticmethod
    def mean(heads: Sequence[Head], shares: Floats) -> Head:
        """Return the mean of heads: that of linear heads is a linear head."""
        pairs = list(zip(shares, heads, strict=True))
        weights = np.sum([w * head.weights for w, head in pairs], axis=0)
        return Head(weights, np.sum([w * head.bias for w, head in pairs], axis=0))


def solve(statistics: Statistics, shrinkage: float, temperature: float = 1.0) -> Head:
    """Return the head of merged statistics.

    W = [(1-g) S + g (diag S + trace S / d) / 2]^-1 mu, with the within-class covariance S and
    class means mu shrunk to the grand mean by one pseudo-count.
    Source: Friedman 1989 (regularized discriminant analysis), with two targets averaged.
    """
    counts, seen = statistics.counts, statistics.counts > 0
    d, total = statistics.dimensions, float(counts.sum())
    if total < 1.0:
        return Head(np.zeros((d, len(counts))), np.zeros(len(counts)))
    freedom = max(total - float(seen.sum()), 1.0)
    matrix = statistics.scatter / freedom
    diagonal = matrix.diagonal().copy()
    spread = max(float(diagonal.mean()), 1e-9)
    target = (np.maximum(diagonal, 0.0) + spread) / 2.0
    matrix *= 1.0 - shrinkage
    matrix[np.diag_indices(d)] += shrinkage * target
    grand = statistics.sums.sum(axis=0) / total
    means = (statistics.sums + PSEUDO_COUNT * grand) / (counts + PSEUDO_COUNT)[:, None]
    weights = solve_spd(matrix, means.T, spread)
    bias = -0.5 * np.einsum("dc,cd->c", weights, means)
    # A class without samples lies at the grand mean: what it is less likely by is told of there.
    # Scores of all classes may be far from 0, where features are far from their origin.
    return Head(weights, np.where(seen, bias, bias + UNSEEN), ~seen).tempered(temperature)


def solve_spd(matrix: Floats, right: Floats, spread: float) -> Floats:
    """Return matrix^-1 right; the matrix, nearly positive definite, is changed.

    spread: the size of its diagonal.
    """
    # Quantised factors and subtracted folds may leave a hair of negative curvature.
    jitter, diagonal = 1e-9 * spread, np.diag_indices(len(matrix))
    for _ in range(12):
        matrix[diagonal] += jitter
        factor, failed = lapack.dpotrf(matrix, clean=0)  # of a copy
        if not failed:
            solved: Floats = lapack.dpotrs(factor, right)[0]
            return solved
        jitter *= 10.0
    return np.zeros_like(right)


def log_prior(counts: Floats) -> Floats:
    """Return the log of class shares with half a pseudo-count a class."""
    smooth = counts + 0.5
    result: Floats = np.log(smooth / smooth.sum())
    return result


def sample_weights(labels: Ints, balanced: bool) -> Floats:
    """Return (n,) weights that add up to 1: alike, or such that every class weighs alike."""
    if not len(labels):
        return np.zeros(0)
    counts = np.bincount(labels)
    each = 1.0 / counts[labels] if balanced else np.ones(len(labels))
    weights: Floats = each / each.sum()
    return weights


def log_softmax(scores: Floats) -> Floats:
    """Return (n, C) log-probabilities."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result
