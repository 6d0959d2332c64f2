"""The order of likeness of int8 fingerprints."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.types import Fingerprint, Floats32, Ints


@njit(cache=True)
def _dot(a: Fingerprint, b: Fingerprint) -> np.int32:
    total = np.int32(0)
    for i in range(a.shape[0]):
        # Every operation wrapped: numba would promote to int64 and lose the vector unit.
        total = np.int32(total + np.int32(np.int32(a[i]) * np.int32(b[i])))
    return total


@njit(cache=True)
def _top(query: Fingerprint, keys: npt.NDArray[np.int8], m: int) -> tuple[Ints, Floats32]:
    best = np.empty(m, np.int64)
    scores = np.empty(m, np.float32)
    size = 0
    if m == 0:
        return best, scores  # a compiled function checks no bounds
    own = np.float32(_dot(query, query))
    for row in range(keys.shape[0]):
        key = keys[row]
        length = np.float32(np.sqrt(own * np.float32(_dot(key, key))))
        score = np.float32(0.0)
        if length > 0.0:
            score = np.float32(_dot(query, key)) / length
        if size == m and score <= scores[size - 1]:
            continue
        if size < m:
            size += 1
        at = size - 1
        while at > 0 and score > scores[at - 1]:
            best[at] = best[at - 1]
            scores[at] = scores[at - 1]
            at -= 1
        best[at] = row
        scores[at] = score
    return best[:size], scores[:size]


def cosine_top(query: Fingerprint, keys: npt.NDArray[np.int8], m: int) -> tuple[Ints, Floats32]:
    """Return the m keys most alike to `query`, and their cosines.

    query: (d,) int8.  keys: (n, d) int8.  Returns (min(m, n),) int64 and float32, best first;
    ties go to the lower index; an empty fingerprint is like nothing (0).
    """
    rows, scores = _top(query, keys, max(0, min(m, len(keys))))
    return rows, scores
