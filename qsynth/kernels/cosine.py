"""The order of likeness of int8 fingerprints, and of f32 vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.types import Fingerprint, Floats32, Ints


@njit(cache=True)
def dot(a: Fingerprint, b: Fingerprint) -> np.int32:
    """Return the inner product of two int8 vectors (d,)."""
    total = np.int32(0)
    for i in range(a.shape[0]):
        # Every operation wrapped: numba would promote to int64 and lose the vector unit.
        total = np.int32(total + np.int32(np.int32(a[i]) * np.int32(b[i])))
    return total


@njit(cache=True)
def inverse_length(a: Fingerprint) -> np.float32:
    """Return one over the length of an int8 vector; 0 of an empty one, which is like nothing."""
    square = dot(a, a)
    if square == 0:
        return np.float32(0.0)
    return np.float32(1.0 / np.sqrt(np.float64(square)))


@njit(cache=True)
def likeness(a: Fingerprint, inverse_a: np.float32, b: Fingerprint, inverse_b: np.float32) -> float:
    """Return the cosine of two int8 vectors whose inverse lengths are known."""
    # In float64: a product of two float32 is exact there, whatever the order of the factors.
    return np.float64(dot(a, b)) * (np.float64(inverse_a) * np.float64(inverse_b))


@njit(cache=True)
def _inverse_lengths(keys: npt.NDArray[np.int8]) -> Floats32:
    lengths = np.empty(keys.shape[0], np.float32)
    for row in range(keys.shape[0]):
        lengths[row] = inverse_length(keys[row])
    return lengths


def inverse_lengths(keys: npt.NDArray[np.int8]) -> Floats32:
    """Return one over the length of each of `keys` (n, d) int8, as (n,) float32."""
    lengths: Floats32 = _inverse_lengths(keys)
    return lengths


@njit(cache=True)
def put_best(best: Ints, scores: Any, size: int, row: int, score: Any) -> int:
    """Put a row into a list of the best, sorted; equal ones stay in the order they came.

    best: (m,) int64, scores: (m,) of any float, of which `size` are used.  Returns the new size.
    """
    if size == best.shape[0]:
        if score <= scores[size - 1]:
            return size
        size -= 1
    at = size
    while at > 0 and score > scores[at - 1]:
        best[at] = best[at - 1]
        scores[at] = scores[at - 1]
        at -= 1
    best[at] = row
    scores[at] = score
    return size + 1


@njit(cache=True)
def _top(
    query: Fingerprint, keys: npt.NDArray[np.int8], inverse: Floats32, m: int
) -> tuple[Ints, Floats32]:
    best = np.empty(m, np.int64)
    scores = np.empty(m, np.float64)
    size = 0
    if m == 0:
        return best, scores.astype(np.float32)  # a compiled function checks no bounds
    own = inverse_length(query)
    for row in range(keys.shape[0]):
        score = likeness(query, own, keys[row], inverse[row])
        if size < m or score > scores[size - 1]:
            size = put_best(best, scores, size, row, score)
    return best[:size], scores[:size].astype(np.float32)


def cosine_top(
    query: Fingerprint, keys: npt.NDArray[np.int8], m: int, inverse: Floats32 | None = None
) -> tuple[Ints, Floats32]:
    """Return the m keys most alike to `query`, and their cosines.

    query: (d,) int8.  keys: (n, d) int8.  inverse: (n,) float32, one over their lengths, where
    they are known.  Returns (min(m, n),) int64 and float32, best first; ties go to the lower
    index; an empty fingerprint is like nothing (0).
    """
    lengths = inverse_lengths(keys) if inverse is None else inverse
    rows, scores = _top(query, keys, lengths, max(0, min(m, len(keys))))
    return rows, scores


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _inner(a: Floats32, b: Floats32) -> np.float32:
    total = np.float32(0.0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@njit(cache=True)
def _inner_top(query: Floats32, keys: Floats32, m: int) -> tuple[Ints, Floats32]:
    best = np.empty(m, np.int64)
    scores = np.empty(m, np.float32)
    size = 0
    for row in range(keys.shape[0] if m else 0):
        score = _inner(query, keys[row])
        if size < m or score > scores[size - 1]:
            size = put_best(best, scores, size, row, score)
    return best[:size], scores[:size]


def inner_top(query: Floats32, keys: Floats32, m: int) -> tuple[Ints, Floats32]:
    """Return the m keys of largest inner product with `query`: cosines, of unit vectors.

    query: (d,) float32.  keys: (n, d) float32.  Returns (min(m, n),) int64 and float32, best
    first; ties go to the lower index.  Sums are reordered: the last bits may differ from NumPy's.
    """
    rows, scores = _inner_top(query, keys, max(0, min(m, len(keys))))
    return rows, scores
