"""The steps of a beam search: which contact to ask next, and when to stop.

A beam is a list of the contacts nearest to what is wanted, best first, with a mark of each.  Its
width begins at `ef` and grows while the best k still change, so that a lookup spends more where
the answer is not yet settled (as a fixed ef would have to for all).  The same steps serve the
lookups of a node, one message at a time, and those of the simulator.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.types import Floats, Ints

Marks = npt.NDArray[np.int8]
UNASKED, WAITING, ANSWERED = 0, 1, 2
# What a search counts; its limits, as `limits` makes them.
SIZE, WIDTH, UNDER_WAY, RPCS, SETTLED, FOUND, STARTS, COUNTERS = 0, 1, 2, 3, 4, 5, 6, 7
K, EF, EF_MAX, ALPHA, BUDGET, PATIENCE, AGAIN, DIGIT = 0, 1, 2, 3, 4, 5, 6, 7
Limits = Ints


def limits(
    k: int,
    ef: int,
    ef_max: int,
    alpha: int,
    budget: int,
    patience: int,
    again: int = 0,
    digit: int = 2,
) -> Limits:
    """Return the limits of a search as the kernels take them.

    k: contacts wanted.  ef: the beam's width at first; ef_max: at last.  alpha: requests under
    way at once.  budget: requests in all.  patience: answers in a row that leave the best k as
    they are, before a beam that has been asked is not widened.  again: times that a search begins
    anew, in another prefix group, where its answer looks like the wrong cluster.  digit: bits of
    an id that name its group.
    """
    width = max(ef, k)
    widest = max(ef_max, width)
    return np.array([k, width, widest, alpha, budget, patience, again, digit], np.int64)


@njit(cache=True)
def beam_begin(counters: Ints, limit: Ints) -> None:
    """Set the counters of a new search."""
    counters[:] = 0
    counters[WIDTH] = limit[EF]


@njit(cache=True)
def beam_add(
    rows: Ints, scores: Floats, marks: Marks, counters: Ints, limit: Ints, row: int, score: float
) -> None:
    """Put a contact that was not known into the beam; equal ones stay in the order they came.

    rows, scores, marks: (capacity,); the capacity is `ef_max` and some for those that fail.
    """
    size = counters[SIZE]
    if size == rows.shape[0]:
        if score <= scores[size - 1]:
            return
        size -= 1
    at = size
    while at > 0 and score > scores[at - 1]:
        rows[at] = rows[at - 1]
        scores[at] = scores[at - 1]
        marks[at] = marks[at - 1]
        at -= 1
    rows[at] = row
    scores[at] = score
    marks[at] = UNASKED
    counters[SIZE] = size + 1
    if at < limit[K]:
        counters[SETTLED] = 0


@njit(cache=True)
def beam_next(rows: Ints, marks: Marks, counters: Ints, limit: Ints) -> int:
    """Return the row of whom to ask now, and mark it; -1 where nobody is to be asked now.

    A caller that has found the one it wanted says so in `counters[FOUND]`: nobody is asked then.
    """
    if counters[FOUND]:
        return -1
    if counters[UNDER_WAY] >= limit[ALPHA] or counters[RPCS] >= limit[BUDGET]:
        return -1
    while True:
        for at in range(min(counters[SIZE], counters[WIDTH])):
            if marks[at] == UNASKED:
                marks[at] = WAITING
                counters[UNDER_WAY] += 1
                counters[RPCS] += 1
                return int(rows[at])
        if counters[UNDER_WAY] > 0 or counters[SETTLED] >= limit[PATIENCE]:
            return -1
        if counters[WIDTH] >= min(limit[EF_MAX], counters[SIZE]):
            return -1
        counters[WIDTH] += 1


@njit(cache=True)
def beam_answered(rows: Ints, marks: Marks, counters: Ints, row: int) -> None:
    """Note that a contact has answered, before its answer's contacts are added."""
    counters[UNDER_WAY] -= 1
    counters[SETTLED] += 1
    for at in range(counters[SIZE]):
        if rows[at] == row:
            marks[at] = ANSWERED
            return


@njit(cache=True)
def beam_failed(rows: Ints, scores: Floats, marks: Marks, counters: Ints, row: int) -> None:
    """Take a contact out that has not answered in time."""
    counters[UNDER_WAY] -= 1
    for at in range(counters[SIZE]):
        if rows[at] == row:
            for i in range(at, counters[SIZE] - 1):
                rows[i] = rows[i + 1]
                scores[i] = scores[i + 1]
                marks[i] = marks[i + 1]
            counters[SIZE] -= 1
            return


@njit(cache=True)
def beam_restart(counters: Ints, limit: Ints) -> None:
    """Empty the beam for another start of the same search; what it has cost counts on."""
    rpcs, starts = counters[RPCS], counters[STARTS]
    beam_begin(counters, limit)
    counters[RPCS], counters[STARTS] = rpcs, starts + 1


@njit(cache=True)
def beam_merge(
    rows: Ints,
    scores: Floats,
    marks: Marks,
    counters: Ints,
    limit: Ints,
    kept: Ints,
    kept_scores: Floats,
) -> None:
    """Put the best of an earlier start back into the beam; they have been asked."""
    for i in range(len(kept)):
        beam_add(rows, scores, marks, counters, limit, kept[i], kept_scores[i])
        for at in range(counters[SIZE]):
            if rows[at] == kept[i]:
                marks[at] = ANSWERED
