"""When a search looks lost in the wrong cluster, and where it begins anew."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.kernels.cosine import likeness, put_best
from qsynth.types import Floats, Floats32, Ints

MARGIN = 0.02  # a cosine: by so much a wanted print lies outside of what was found
STARTS = 3  # contacts that the search begins anew with


@njit(cache=True)
def looks_wrong(scores: Floats, prints: npt.NDArray[np.int8], inverse: Floats32) -> bool:
    """Return whether an answer is more alike among itself than it is to what was wanted.

    scores: (k,) cosines to what was wanted.  prints: (k, d) int8, inverse: (k,) one over their
    lengths.  Whoever belongs to a cluster is as alike to its members as they are to each other.
    """
    k = scores.shape[0]
    mutual = 0.0
    for i in range(k):
        for j in range(i):
            mutual += likeness(prints[i], inverse[i], prints[j], inverse[j])
    return k > 1 and bool(scores.mean() < 2.0 * mutual / (k * (k - 1)) - MARGIN)


@njit(cache=True)
def starts_elsewhere(scores: Floats, asked: npt.NDArray[np.bool_], groups: Ints, home: int) -> Ints:
    """Return which known contacts to begin anew with: the best not asked, of other prefix groups.

    scores, asked, groups: (n,) of each.  home: the group of the best found, which is left out.
    """
    best, best_scores = np.empty(STARTS, np.int64), np.empty(STARTS)
    size = 0
    for i in range(scores.shape[0]):
        if not asked[i] and groups[i] != home:
            size = put_best(best, best_scores, size, i, scores[i])
    return best[:size]
