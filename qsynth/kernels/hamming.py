"""The Hamming order of 256-bit words, as of a SimHash."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from qsynth.kernels.bits import popcount
from qsynth.kernels.cosine import put_best
from qsynth.kernels.xor import Words, as_words
from qsynth.types import Bytes8, Ints

count_bits: Any = popcount
ID_BITS = 256


BLOCK = 256  # rows: their distances first, without a branch, so that the vector unit counts bits


@njit(cache=True)
def _hamming_top(query: Words, keys: Words, m: int) -> tuple[Ints, Ints]:
    best = np.empty(m, np.int64)
    nearness = np.empty(m, np.int64)
    size = 0
    apart = np.empty(BLOCK, np.uint16)
    worst = np.uint16(ID_BITS + 1)
    q0, q1, q2, q3 = query[0], query[1], query[2], query[3]
    for first in range(0, keys.shape[0] if m else 0, BLOCK):
        rows = keys[first : first + BLOCK]
        for at in range(rows.shape[0]):
            # Word by word: a loop over the four keeps LLVM from counting them at once.
            apart[at] = np.uint16(
                count_bits(q0 ^ rows[at, 0])
                + count_bits(q1 ^ rows[at, 1])
                + count_bits(q2 ^ rows[at, 2])
                + count_bits(q3 ^ rows[at, 3])
            )
        least = np.uint16(ID_BITS + 1)
        for at in range(rows.shape[0]):
            least = min(least, apart[at])
        if least >= worst:
            continue
        for at in range(rows.shape[0]):
            if apart[at] < worst:
                size = put_best(best, nearness, size, first + at, -np.int64(apart[at]))
                if size == m:
                    worst = np.uint16(-nearness[m - 1])
    return best[:size], -nearness[:size]


def hamming_top(query: Bytes8, keys: Bytes8, m: int) -> tuple[Ints, Ints]:
    """Return the m keys that differ from `query` in the fewest bits, and in how many.

    query: (32,) uint8.  keys: (n, 32) uint8.  Returns (min(m, n),) int64 twice, nearest first;
    ties go to the lower index.
    """
    count = max(0, min(m, len(keys)))
    rows, apart = _hamming_top(as_words(query), as_words(keys), count)
    return rows, apart
