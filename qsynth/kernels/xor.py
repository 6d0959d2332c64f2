"""The XOR order of 256-bit ids.  Source: Maymounkov & Mazieres 2002, section 2.1."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.kernels.bits import byteswap
from qsynth.types import Bytes8, Ints

Words = npt.NDArray[np.uint64]
LITTLE = sys.byteorder == "little"
swap: Any = byteswap


@njit(cache=True)
def _apart(target: Words, ids: Words, row: int, word: int) -> Any:
    apart = ids[row, word] ^ target[word]
    return swap(apart) if LITTLE else apart


@njit(cache=True)
def _closer(target: Words, ids: Words, one: int, other: int) -> bool:
    """Return whether row `one` is strictly nearer to the target than row `other`."""
    for word in range(target.shape[0]):
        a, b = _apart(target, ids, one, word), _apart(target, ids, other, word)
        if a != b:
            return bool(a < b)
    return False


@njit(cache=True)
def _nearest(target: Words, ids: Words, k: int) -> Ints:
    best = np.empty(k, np.int64)
    size = 0
    if k == 0:
        return best  # a compiled function checks no bounds
    worst = ~np.uint64(0)  # the first word of the last of the best: it settles nearly all
    for row in range(ids.shape[0]):
        first = _apart(target, ids, row, 0)
        if first > worst:
            continue
        if size == k and not _closer(target, ids, row, best[size - 1]):
            continue
        if size < k:
            size += 1
        at = size - 1
        while at > 0 and _closer(target, ids, row, best[at - 1]):
            best[at] = best[at - 1]
            at -= 1
        best[at] = row
        if size == k:
            worst = _apart(target, ids, best[size - 1], 0)
    return best[:size]


def xor_nearest(target: Bytes8, ids: Bytes8, k: int) -> Ints:
    """Return the indices of the k ids nearest to `target` in the XOR metric.

    target: (32,) uint8, big-endian.  ids: (n, 32) uint8.
    Returns (min(k, n),) int64, nearest first; ties go to the lower index.
    """
    count = max(0, min(k, len(ids)))
    rows: Ints = _nearest(as_words(target), as_words(ids), count)
    return rows


def as_words(array: Bytes8) -> Words:
    """Return bytes (..., 32) as (..., 4) words of 64 bits."""
    return np.ascontiguousarray(array).view(np.uint64)
