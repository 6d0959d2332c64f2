"""The places of a routing table: rings and the near set, and who gets one.

Source of the rule of rings: Malkov & Yashunin 2018 (HNSW), algorithm 4, applied to each prefix
ring.  Contacts are ranked by likeness less a share of how dense it is around them, as CSLS does
(Conneau et al. 2018, section 2.3): who is like everybody would be in everybody's table.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.kernels.cosine import likeness
from qsynth.types import Floats32

Rows = npt.NDArray[np.int32]
Prints = npt.NDArray[np.int8]
# Measured on real fingerprints (docs/explanation/scaling.md).
DENSITY_WEIGHT = 0.4  # of a contact's density in its rank
CHANCE_WEIGHT = 0.3  # of a draw by both ids: far contacts differ from owner to owner
REACH = 3  # a ring has no contact farther off than the nearest one of the ring so many deeper
DENSITY_STEPS = 127.0  # a density travels in 7 bits
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True)
def chance_of(key: np.uint64, other: np.uint64) -> float:
    """Return the draw of two ids' first 64 bits, in [0, 1): another for each owner."""
    return np.float64(((key ^ other) * GOLDEN) >> np.uint64(40)) / 16777216.0


@njit(cache=True)
def rank_of(score: np.float32, density: int, key: np.uint64, other: np.uint64) -> np.float32:
    """Return by what a table sorts a contact: its likeness, less what makes hubs.

    density: of the contact, in steps.  key, other: the first 64 bits of the owner's id and its.
    """
    chance = chance_of(key, other)
    crowd = DENSITY_WEIGHT * density / DENSITY_STEPS
    return np.float32(score - crowd - CHANCE_WEIGHT * chance * (1.0 - score))


@njit(cache=True)
def ring_insert(
    members: Rows,
    ranks: Floats32,
    scores: Floats32,
    size: int,
    row: int,
    rank: np.float32,
    score: np.float32,
    prints: Prints,
    inverse: Floats32,
) -> int:
    """Offer a row to a ring; return the ring's new size.

    members: (r,) int32 rows of `prints`, of which `size` are used, best first.  ranks, scores:
    (r,) float32, by what they are sorted, and their likeness to the ring's owner.  prints: (n, d)
    int8.  inverse: (n,) float32, one over their lengths.  A row that is more like a kept better
    one than like the owner is dropped, and so is a worse one that is more like the row than like
    the owner.
    """
    if size == members.shape[0] and rank <= ranks[size - 1]:
        return size
    at = 0
    while at < size and ranks[at] >= rank:
        if members[at] == row:
            return size
        near = likeness(prints[members[at]], inverse[members[at]], prints[row], inverse[row])
        if np.float32(near) > score:
            return size
        at += 1
    kept = at
    for i in range(at, size):
        near = likeness(prints[members[i]], inverse[members[i]], prints[row], inverse[row])
        if members[i] != row and np.float32(near) <= scores[i]:
            members[kept] = members[i]
            ranks[kept] = ranks[i]
            scores[kept] = scores[i]
            kept += 1
    kept = min(kept + 1, int(members.shape[0]))
    for i in range(kept - 1, at, -1):
        members[i] = members[i - 1]
        ranks[i] = ranks[i - 1]
        scores[i] = scores[i - 1]
    members[at] = row
    ranks[at] = rank
    scores[at] = score
    return kept


@njit(cache=True)
def near_insert(members: Rows, ranks: Floats32, size: int, row: int, rank: np.float32) -> int:
    """Offer a row to a near set, the best of all; return the set's new size."""
    if size == members.shape[0] and rank <= ranks[size - 1]:
        return size
    for i in range(size):
        if members[i] == row:
            return size
    at = min(size, members.shape[0] - 1)
    while at > 0 and rank > ranks[at - 1]:
        members[at], ranks[at] = members[at - 1], ranks[at - 1]
        at -= 1
    members[at], ranks[at] = row, rank
    return min(size + 1, int(members.shape[0]))


@njit(cache=True)
def place(
    near: Rows,
    near_ranks: Floats32,
    near_size: int,
    rings: Rows,
    ranks: Floats32,
    scores: Floats32,
    sizes: npt.NDArray[np.int8],
    row: int,
    rank: np.float32,
    score: np.float32,
    shared: int,
    prints: Prints,
    inverse: Floats32,
) -> int:
    """Offer a row to all places of a table; return the near set's new size.

    near: (n,).  rings, ranks, scores: (levels, r).  sizes: (levels,).  shared: the digits that the
    row's id shares with the owner's.
    """
    near_size = near_insert(near, near_ranks, near_size, row, rank)
    for level in range(min(shared, rings.shape[0] - 1) + 1):
        if sizes[level] < rings.shape[1] or rank > ranks[level, sizes[level] - 1]:
            sizes[level] = ring_insert(
                rings[level],
                ranks[level],
                scores[level],
                sizes[level],
                row,
                rank,
                score,
                prints,
                inverse,
            )
    return near_size


@njit(cache=True)
def put_new(out: Rows, count: int, row: int) -> int:
    """Write a row behind the first `count`, where it is not among them and there is room."""
    for j in range(count):
        if out[j] == row:
            return count
    if count == out.shape[0]:
        return count
    out[count] = row
    return count + 1


@njit(cache=True)
def placed(
    near: Rows,
    near_size: int,
    rings: Rows,
    scores: Floats32,
    sizes: npt.NDArray[np.int8],
    out: Rows,
) -> int:
    """Write the rows that have a place by likeness, each once, into `out`; return how many.

    A member of a ring that is farther off than the nearest one of the ring `REACH` deeper has no
    place: all would take the same of those, and deeper rings have others.
    """
    count = 0
    for i in range(near_size):
        count = put_new(out, count, near[i])
    for level in range(rings.shape[0]):
        deeper = level + REACH
        for i in range(sizes[level]):
            if (
                deeper < rings.shape[0]
                and sizes[deeper] > 0
                and scores[level, i] < scores[deeper, 0]
            ):
                continue
            count = put_new(out, count, rings[level, i])
    return count


@njit(cache=True)
def near_remove(members: Rows, ranks: Floats32, size: int, row: int) -> int:
    """Take a row out of a near set; return the set's new size."""
    kept = 0
    for i in range(size):
        if members[i] != row:
            members[kept], ranks[kept] = members[i], ranks[i]
            kept += 1
    return kept


@njit(cache=True)
def rings_remove(
    rings: Rows, ranks: Floats32, scores: Floats32, sizes: npt.NDArray[np.int8], row: int
) -> None:
    """Take a row out of all rings."""
    for level in range(rings.shape[0]):
        kept = 0
        for i in range(sizes[level]):
            if rings[level, i] != row:
                rings[level, kept] = rings[level, i]
                ranks[level, kept] = ranks[level, i]
                scores[level, kept] = scores[level, i]
                kept += 1
        sizes[level] = kept


@njit(cache=True)
def density_of(scores: Floats32, size: int) -> int:
    """Return how alike one's nearest are on average, in steps; 0 where there are none.

    scores: (n,) float32, of which `size` are used.
    """
    total = 0.0
    for i in range(size):
        total += scores[i]
    if size == 0 or total <= 0.0:
        return 0
    return int(np.rint(DENSITY_STEPS * total / size))
