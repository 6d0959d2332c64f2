"""The metric `class_sketch`: how the labels of a node lie in the shared features."""

from __future__ import annotations

import numpy as np

from qsynth.similarity.config import ClassSketch
from qsynth.types import Fingerprint, Floats

SCALE = 127.0  # a fingerprint is a unit vector in 8-bit numbers: near 1.0 a step is .008


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


def class_sketch(config: ClassSketch, counts: Floats, sums: Floats) -> Floats:
    """Return the class means, centred on their mean, of unit length, as one vector.

    Each class is weighted by the root of its share; zeros where a class has no support.
    """
    # Packets of fewer features are padded: all fingerprints of a task have one length.
    means = np.zeros((len(counts), config.sketch_d))
    d = min(config.sketch_d, sums.shape[1])
    means[:, :d] = sums[:, :d] / np.maximum(counts, 1.0)[:, None]
    present = counts > 0
    if not present.any():
        return np.zeros(means.size)
    centred = np.where(present[:, None], means - means[present].mean(axis=0), 0.0)
    lengths = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    share = np.sqrt(counts / counts.sum())[:, None]
    flat: Floats = (centred / lengths * share).ravel()
    return flat
