"""The Hamming order of 256-bit words, as of a SimHash."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from qsynth.kernels.bits import popcount
from qsynth.kernels.xor import Words, as_words
from qsynth.types import Bytes8, Ints

count_bits: Any = popcount
ID_BITS = 256


@njit(cache=True)
def _hamming_top(query: Words, keys: Words, m: int) -> tuple[Ints, Ints]:
    best = np.empty(m, np.int64)
    apart = np.empty(m, np.int64)
    size = 0
    q0, q1, q2, q3 = query[0], query[1], query[2], query[3]
    worst = np.uint64(ID_BITS + 1)
    for row in range(keys.shape[0] if m else 0):
        # Word by word: a loop over the four keeps LLVM from counting them at once.
        far = (
            count_bits(q0 ^ keys[row, 0]) + count_bits(q1 ^ keys[row, 1])
            + count_bits(q2 ^ keys[row, 2]) + count_bits(q3 ^ keys[row, 3])
        )  # fmt: skip
        if far >= worst:
            continue
        bits = np.int64(far)
        if size < m:
            size += 1
        at = size - 1
        while at > 0 and bits < apart[at - 1]:
            best[at] = best[at - 1]
            apart[at] = apart[at - 1]
            at -= 1
        best[at] = row
        apart[at] = bits
        if size == m:
            worst = np.uint64(apart[m - 1])
    return best[:size], apart[:size]


def hamming_top(query: Bytes8, keys: Bytes8, m: int) -> tuple[Ints, Ints]:
    """Return the m keys that differ from `query` in the fewest bits, and in how many.

    query: (32,) uint8.  keys: (n, 32) uint8.  Returns (min(m, n),) int64 twice, nearest first;
    ties go to the lower index.
    """
    count = max(0, min(m, len(keys)))
    rows, apart = _hamming_top(as_words(query), as_words(keys), count)
    return rows, apart
