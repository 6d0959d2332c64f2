"""Insertion into a ring: nearest by fingerprint, and mutually diverse.

Source of the rule: Malkov & Yashunin 2018 (HNSW), algorithm 4, applied to each prefix ring.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.kernels.cosine import _dot
from qsynth.types import Floats32, Ints


@njit(cache=True)
def _diverse(scores: Floats32, keys: npt.NDArray[np.int8], size: int) -> Ints:
    kept = np.empty(size, np.int64)
    count = 0
    lengths = np.empty(keys.shape[0], np.float32)
    for row in range(keys.shape[0]):
        lengths[row] = np.sqrt(np.float32(_dot(keys[row], keys[row])))
    for row in range(keys.shape[0]):
        if count == size:
            break
        alone = True
        for i in range(count):
            other = kept[i]
            length = lengths[row] * lengths[other]
            likeness = np.float32(0.0)
            if length > 0.0:
                likeness = np.float32(_dot(keys[row], keys[other])) / length
            if likeness > scores[row]:
                alone = False
                break
        if alone:
            kept[count] = row
            count += 1
    return kept[:count]


def diverse(scores: Floats32, keys: npt.NDArray[np.int8], size: int) -> Ints:
    """Return which candidates a ring of `size` keeps.

    scores: (n,) float32, each candidate's cosine to the ring's owner, best first.
    keys: (n, d) int8, their fingerprints.  A candidate that is more like a kept one than like
    the owner is dropped.  Returns (<= size,) int64, best first.
    """
    rows: npt.NDArray[np.int64] = _diverse(scores, keys, size)
    return rows
