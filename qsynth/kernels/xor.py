"""The XOR order of 256-bit ids.  Source: Maymounkov & Mazieres 2002, section 2.1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.types import Bytes8, Ints


@njit(cache=True)
def _closer(target: Bytes8, ids: Bytes8, one: int, other: int) -> bool:
    """Return whether row `one` is strictly nearer to the target than row `other`."""
    for byte in range(target.shape[0]):
        a = ids[one, byte] ^ target[byte]
        b = ids[other, byte] ^ target[byte]
        if a != b:
            return bool(a < b)
    return False


@njit(cache=True)
def _nearest(target: Bytes8, ids: Bytes8, k: int) -> Ints:
    best = np.empty(k, np.int64)
    size = 0
    if k == 0:
        return best  # a compiled function checks no bounds
    for row in range(ids.shape[0]):
        if size == k and not _closer(target, ids, row, best[size - 1]):
            continue
        if size < k:
            size += 1
        at = size - 1
        while at > 0 and _closer(target, ids, row, best[at - 1]):
            best[at] = best[at - 1]
            at -= 1
        best[at] = row
    return best[:size]


def xor_nearest(target: Bytes8, ids: Bytes8, k: int) -> Ints:
    """Return the indices of the k ids nearest to `target` in the XOR metric.

    target: (32,) uint8, big-endian.  ids: (n, 32) uint8.
    Returns (min(k, n),) int64, nearest first; ties go to the lower index.
    """
    rows: npt.NDArray[np.int64] = _nearest(target, ids, max(0, min(k, len(ids))))
    return rows
