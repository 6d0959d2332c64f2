"""The metric `class_sketch`: how the labels of a node lie in the shared features."""

from __future__ import annotations

import numpy as np

from qsynth.similarity.config import ClassSketch
from qsynth.types import Fingerprint, Floats, Ints

SCALE = 127.0  # a fingerprint is a unit vector in 8-bit numbers: near 1.0 a step is .008


def fingerprint_size(config: ClassSketch, classes: int) -> int:
    """Return the length of the fingerprints of a task with this many classes."""
    return min(classes * config.sketch_d, config.fingerprint_dim)


def fingerprint(config: ClassSketch, counts: Floats, sums: Floats) -> Fingerprint:
    """Return the fingerprint of class counts (C,) and class sums (C, d).

    Class means, centred on their mean, of unit length, weighted by the root of the class's
    share; more numbers than `fingerprint_dim` are projected by a seeded matrix.  Every node
    computes it from the packet alone, so a receiver can check an author's claim.
    Returns (fingerprint_size,) int8, zeros where no class has support.
    """
    return quantise(_sketch(config, counts, sums))


def quantise(vector: Floats) -> Fingerprint:
    """Return a vector, scaled to unit length, in 8-bit numbers."""
    length = float(np.linalg.norm(vector))
    if length < 1e-12:
        return np.zeros(len(vector), np.int8)
    return np.clip(np.rint(vector / length * SCALE), -127, 127).astype(np.int8)


def cosine(one: Fingerprint, other: Fingerprint) -> float:
    """Return how alike two fingerprints are, in [-1, 1]; 0 where one is empty or sizes differ."""
    if one.shape != other.shape:
        return 0.0
    a, b = one.astype(np.float64), other.astype(np.float64)
    length = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / length if length > 0.0 else 0.0


def likeness(config: ClassSketch, one: Fingerprint, other: Fingerprint) -> float:
    """Return how alike two nodes are in the classes that both have, in [-1, 1].

    The cosine of the class blocks that neither leaves empty; of the whole fingerprints where
    these are projected.  Label skew lowers the cosine of whole fingerprints, and this not.
    """
    if one.shape != other.shape or len(one) % config.sketch_d:
        return cosine(one, other)
    a, b = one.reshape(-1, config.sketch_d), other.reshape(-1, config.sketch_d)
    common = a.any(axis=1) & b.any(axis=1)
    return cosine(a[common].ravel(), b[common].ravel())


def split_half(
    config: ClassSketch, features: Floats, labels: Ints, classes: int, rng: np.random.Generator
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
        prints.append(fingerprint(config, counts, sums))
    return cosine(prints[0], prints[1])


def _sketch(config: ClassSketch, counts: Floats, sums: Floats) -> Floats:
    # Packets of fewer features are padded: all fingerprints of a task have one length.
    means = np.zeros((len(counts), config.sketch_d))
    d = min(config.sketch_d, sums.shape[1])
    means[:, :d] = sums[:, :d] / np.maximum(counts, 1.0)[:, None]
    present = counts > 0
    if not present.any():
        return np.zeros(fingerprint_size(config, len(counts)))
    centred = np.where(present[:, None], means - means[present].mean(axis=0), 0.0)
    lengths = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    share = np.sqrt(counts / counts.sum())[:, None]
    flat: Floats = (centred / lengths * share).ravel()
    if len(flat) <= config.fingerprint_dim:
        return flat
    rng = np.random.default_rng([len(flat), config.fingerprint_dim])
    mixing = rng.standard_normal((len(flat), config.fingerprint_dim))
    projected: Floats = flat @ mixing
    return projected
