"""Labels that look permuted: class sketches that fit once their classes are renamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from qsynth.similarity import cosine
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.types import Fingerprint

LEAST_OTHERS = 2
MOST = 2.0 / 3.0  # of the others
ALIKE, BETTER = 0.7, 0.1  # of how alike the same data would look


def permuted(
    config: Any, own: Fingerprint, others: Sequence[Fingerprint], same: float
) -> dict[int, int] | None:
    """Return which class here is which there, where others fit only with their classes renamed.

    same: how alike the same data would look.  None unless at least LEAST_OTHERS are known, and one
    and the same renaming makes MOST of them alike, and by BETTER more than they are as they are.
    In a fleet whose groups mean different things by their labels, one's own group is alike.
    """
    told = [other for other in others if other.any() and other.shape == own.shape]
    if not isinstance(config, ClassSketch) or len(own) % config.sketch_d or not own.any():
        return None
    if len(told) < LEAST_OTHERS or same <= 0.0:
        return None
    found: Counter[tuple[int, ...]] = Counter()
    for other in told:
        order = _best(own.reshape(-1, config.sketch_d), other.reshape(-1, config.sketch_d))
        renamed = other.reshape(-1, config.sketch_d)[list(order)].ravel()
        fits = cosine(own, renamed)
        if fits >= max(ALIKE * same, cosine(own, other) + BETTER * same):
            found[order] += 1
    order, count = found.most_common(1)[0] if found else ((), 0)
    if count < MOST * len(told):
        return None
    return {mine: theirs for mine, theirs in enumerate(order) if mine != theirs}


def _best(own: Fingerprint, other: Fingerprint) -> tuple[int, ...]:
    """Return for each class of ours the one of theirs that fits, all different (Kuhn 1955)."""
    fits = own.astype(np.float64) @ other.astype(np.float64).T
    _, theirs = linear_sum_assignment(-fits)
    return tuple(int(c) for c in theirs)
