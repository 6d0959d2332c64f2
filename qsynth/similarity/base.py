"""What a similarity metric is: a vector of a packet's statistics, and how alike two vectors are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsynth.schema import option, setting
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


@option("similarity")
@dataclass(frozen=True)
class Metric:
    """A similarity metric.  An option subclasses it and gives `size` and `vector`."""

    fingerprint_dim: int = setting(320, "numbers in a fingerprint at most", low=16, high=1024)
    query_support: int | None = setting(
        None,
        "samples a class needs to be told of in one's own lookups, which those who are asked "
        "see; null: what is published",
        low=1,
    )

    of_targets: ClassVar[bool] = False  # whether it says something where samples have no class

    def sketched(self) -> int | None:
        """Return how many of a packet's features count; None: all."""
        return None

    def size(self, classes: int) -> int:
        """Return the length of `vector` for a task of so many classes, whatever the features."""
        raise NotImplementedError

    def vector(self, counts: Floats, sums: Floats) -> Floats:
        """Return the vector of class counts (C,) and class sums (C, d); its direction counts.

        Every node computes it from a packet alone, so a receiver can check an author's claim.
        """
        raise NotImplementedError

    def likeness(self, one: Fingerprint, other: Fingerprint) -> float:
        """Return how alike two nodes are, in [-1, 1]: by default, the cosine of fingerprints."""
        return cosine(one, other)
