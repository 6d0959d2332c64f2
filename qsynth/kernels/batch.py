"""The scanning kernels for many queries at once: a block of keys is read once for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.kernels.cosine import inverse_length, inverse_lengths, likeness, put_best
from qsynth.kernels.hamming import _hamming_top
from qsynth.kernels.xor import Words, _nearest, as_words
from qsynth.types import Bytes8, Floats, Floats32, Ints

BLOCK = 1024  # keys: 64 KB of fingerprints, which stay in the cache while all queries pass


@njit(cache=True)
def _cosine_many(
    queries: npt.NDArray[np.int8],
    keys: npt.NDArray[np.int8],
    inverse: Floats32,
    best: Ints,
    scores: Floats,
) -> None:
    m = best.shape[1]
    sizes = np.zeros(queries.shape[0], np.int64)
    for first in range(0, keys.shape[0], BLOCK):
        last = min(first + BLOCK, keys.shape[0])
        for q in range(queries.shape[0]):
            query, own, size = queries[q], inverse_length(queries[q]), sizes[q]
            for row in range(first, last):
                score = likeness(query, own, keys[row], inverse[row])
                if size < m or score > scores[q, size - 1]:
                    size = put_best(best[q], scores[q], size, row, score)
            sizes[q] = size


@njit(cache=True)
def _hamming_many(queries: Words, keys: Words, best: Ints, apart: Ints) -> None:
    for q in range(queries.shape[0]):
        best[q], apart[q] = _hamming_top(queries[q], keys, best.shape[1])


@njit(cache=True)
def _nearest_many(targets: Words, ids: Words, best: Ints) -> None:
    for q in range(targets.shape[0]):
        best[q] = _nearest(targets[q], ids, best.shape[1])


def cosine_top_many(
    queries: npt.NDArray[np.int8],
    keys: npt.NDArray[np.int8],
    m: int,
    inverse: Floats32 | None = None,
) -> tuple[Ints, Floats32]:
    """Return the m keys most alike to each query, and their cosines.

    queries: (q, d) int8; the rest as of `cosine_top`.  Returns (q, min(m, n)) int64 and float32.
    """
    lengths = inverse_lengths(keys) if inverse is None else inverse
    shape = len(queries), max(0, min(m, len(keys)))
    best, scores = np.zeros(shape, np.int64), np.zeros(shape)
    if shape[1]:
        _cosine_many(queries, keys, lengths, best, scores)
    return best, scores.astype(np.float32)


def hamming_top_many(queries: Bytes8, keys: Bytes8, m: int) -> tuple[Ints, Ints]:
    """Return the m keys nearest to each query, and how many bits they differ in.

    queries: (q, 32) uint8; the rest as of `hamming_top`.  Returns (q, min(m, n)) int64 twice.
    """
    best, apart = _many(_hamming_many, queries, keys, m, 2)
    return best, apart


def xor_nearest_many(targets: Bytes8, ids: Bytes8, k: int) -> Ints:
    """Return the indices of the k ids nearest to each target; (q, min(k, n)) int64.

    targets: (q, 32) uint8; the rest as of `xor_nearest`.
    """
    rows: Ints = _many(_nearest_many, targets, ids, k, 1)[0]
    return rows


def _many(kernel: Any, queries: Bytes8, keys: Bytes8, m: int, results: int) -> Any:
    shape = len(queries), max(0, min(m, len(keys)))
    made = tuple(np.zeros(shape, np.int64) for _ in range(results))
    if shape[1] and shape[0]:
        kernel(as_words(queries), as_words(keys), *made)
    return made
