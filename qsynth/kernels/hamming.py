"""The Hamming order of 256-bit words, as of a SimHash."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from qsynth.kernels.bits import popcount
from qsynth.kernels.xor import Words, as_words
from qsynth.types import Bytes8, Ints

count_bits: Any = popcount


@njit(cache=True)
def hamming(a: Words, b: Words) -> int:
    """Return how many bits of two words of (4,) uint64 differ."""
    total = np.uint64(0)
    for i in range(a.shape[0]):
        total += count_bits(a[i] ^ b[i])
    return int(total)


@njit(cache=True)
def _hamming_top(query: Words, keys: Words, m: int) -> tuple[Ints, Ints]:
    best = np.empty(m, np.int64)
    apart = np.empty(m, np.int64)
    size = 0
    for row in range(keys.shape[0] if m else 0):
        bits = hamming(query, keys[row])
        if size == m and bits >= apart[size - 1]:
            continue
        if size < m:
            size += 1
        at = size - 1
        while at > 0 and bits < apart[at - 1]:
            best[at] = best[at - 1]
            apart[at] = apart[at - 1]
            at -= 1
        best[at] = row
        apart[at] = bits
    return best[:size], apart[:size]


def hamming_top(query: Bytes8, keys: Bytes8, m: int) -> tuple[Ints, Ints]:
    """Return the m keys that differ from `query` in the fewest bits, and in how many.

    query: (32,) uint8.  keys: (n, 32) uint8.  Returns (min(m, n),) int64 twice, nearest first;
    ties go to the lower index.
    """
    count = max(0, min(m, len(keys)))
    rows, apart = _hamming_top(as_words(query), as_words(keys), count)
    return rows, apart
