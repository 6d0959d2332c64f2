"""Fingerprints of a packet's statistics, and how noisy one's own is."""

from __future__ import annotations

import numpy as np

from qsynth.similarity.base import Metric, cosine, quantise
from qsynth.types import Fingerprint, Floats, Ints


def fingerprint_size(metric: Metric, classes: int) -> int:
    """Return the length of the fingerprints of a task with this many classes."""
    return min(metric.size(classes), metric.fingerprint_dim)


def fingerprint(metric: Metric, counts: Floats | Ints, sums: Floats) -> Fingerprint:
    """Return the fingerprint of class counts (C,) and class sums (C, d).

    More numbers than `fingerprint_dim` are projected by a seeded matrix.
    Returns (fingerprint_size,) int8, zeros where no class has support.
    """
    flat = metric.vector(np.asarray(counts, np.float64), sums)
    if len(flat) <= metric.fingerprint_dim:
        return quantise(flat)
    rng = np.random.default_rng([len(flat), metric.fingerprint_dim])
    mixing = rng.standard_normal((len(flat), metric.fingerprint_dim))
    return quantise(flat @ mixing)


def split_half(
    metric: Metric, features: Floats, labels: Ints, classes: int, rng: np.random.Generator
) -> float:
    """Return how alike two random halves of one's own samples are, in [-1, 1].

    features: (n, d).  It tells how noisy one's own fingerprint is: the floor of similarity is
    relative to it.
    """
    halves = [np.zeros(len(labels), bool) for _ in range(2)]
    for c in range(classes):
        mine = rng.permutation(np.flatnonzero(labels == c))
        halves[0][mine[: len(mine) // 2]] = True
        halves[1][mine[len(mine) // 2 :]] = True
    prints = []
    for chosen in halves:
        counts = np.bincount(labels[chosen], minlength=classes).astype(np.float64)
        sums = np.zeros((classes, features.shape[1]))
        np.add.at(sums, labels[chosen], features[chosen].astype(np.float64))
        prints.append(fingerprint(metric, counts, sums))
    return cosine(prints[0], prints[1])


def signs(query: Fingerprint) -> Fingerprint:
    """Return a fingerprint that tells the signs alone of another: for strangers."""
    return (np.sign(query.astype(np.int16)) * 64).astype(np.int8)


def whole_from_half(half: float) -> float:
    """Return how alike two wholes are whose halves are so alike; 0 where these are not at all.

    Source: the Spearman-Brown formula.
    """
    return 2.0 * half / (1.0 + half) if half > 0.0 else 0.0
