"""A whole lookup over simulated tables, message by message as a node would have it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.bench.net import Keys, Net, Rows, pack, shared_digits
from qsynth.kernels.beam import (
    AGAIN,
    BUDGET,
    COUNTERS,
    DIGIT,
    FOUND,
    SIZE,
    STARTS,
    K,
    Marks,
    beam_add,
    beam_answered,
    beam_begin,
    beam_failed,
    beam_merge,
    beam_next,
    beam_restart,
)
from qsynth.kernels.cosine import likeness, put_best
from qsynth.kernels.restart import looks_wrong, starts_elsewhere
from qsynth.types import Fingerprint, Floats, Floats32, Ints

SPARE = 16  # places in the beam for contacts that may turn out to be dead
KNOWN = 64  # contacts that one request can make known at most


class Wanted(NamedTuple):
    """What is looked for: the contacts most alike to a fingerprint, or nearest to an id.

    vector: (d,) int8 and inverse, one over its length.  key: an id's first bits.  exact: by id.
    level: only contacts that share so many digits with `key`.
    """

    vector: Fingerprint
    inverse: np.float32
    key: np.uint64
    exact: bool
    level: int


class Scratch(NamedTuple):
    """Memory of one search, used again by the next.

    clock: (2,) the newest stamp, and the contacts told in all answers so far.  stamps, seen: (N,)
    the search that has scored, or has come to know, a contact.  scores: (N,).  rows, beam_scores,
    marks, counters: the beam.  queue, depths: requests under way.  reply, reply_scores: of one
    answer.  asked, known: in order.
    """

    clock: Ints
    stamps: Ints
    seen: Ints
    scores: Floats
    rows: Ints
    beam_scores: Floats
    marks: Marks
    counters: Ints
    queue: Ints
    depths: Ints
    reply: Ints
    reply_scores: Floats
    asked: Ints
    known: Ints


def scratch(nodes: int, ef_max: int, budget: int) -> Scratch:
    """Return memory for searches of this width and number of requests at most."""
    beam = ef_max + SPARE
    return Scratch(
        np.zeros(2, np.int64),
        np.zeros(nodes, np.int64),
        np.zeros(nodes, np.int64),
        np.zeros(nodes),
        np.zeros(beam, np.int64),
        np.zeros(beam),
        np.zeros(beam, np.int8),
        np.zeros(COUNTERS, np.int64),
        np.zeros(budget, np.int64),
        np.zeros(budget, np.int64),
        np.zeros(KNOWN, np.int64),
        np.zeros(KNOWN),
        np.zeros(budget, np.int64),
        np.zeros(budget * KNOWN, np.int64),
    )


@njit(cache=True)
def _score(
    row: int,
    vector: Fingerprint,
    inverse: np.float32,
    key: np.uint64,
    exact: bool,
    prints: npt.NDArray[np.int8],
    lengths: Floats32,
    keys: Keys,
) -> float:
    if exact:
        return -np.float64(keys[row] ^ key)
    return likeness(vector, inverse, prints[row], lengths[row])


@njit(cache=True)
def _best(
    contacts: Rows, count: int, wanted: Wanted, me: int, most: int, stamp: int, net: Net, s: Scratch
) -> int:
    """Write the best contacts of one table; what a search has scored it need not score again."""
    prints, lengths, keys, bits = net.prints, net.inverse, net.keys, net.bits[0]
    stamps, scores, best, best_scores = s.stamps, s.scores, s.reply, s.reply_scores
    size = 0
    vector, inverse, key, exact, level = wanted
    best, best_scores = best[:most], best_scores[:most]
    for i in range(count):
        row = contacts[i]
        if row == me or (level > 0 and shared_digits(keys[row], key, bits) < level):
            continue
        if stamps[row] != stamp:
            stamps[row] = stamp
            scores[row] = _score(row, vector, inverse, key, exact, prints, lengths, keys)
        if size < most or scores[row] > best_scores[size - 1]:
            size = put_best(best, best_scores, size, row, scores[row])
    return size


@njit(cache=True)
def reply_of(
    net: Net, node: int, wanted: Wanted, me: int, most: int, s: Scratch, stamp: int
) -> int:
    """Write the contacts that a node answers with, best first, and return how many.

    stamp: of the search; a new one where there is none.
    """
    count = pack(net, node)
    return _best(net.packed[node], count, wanted, me, most, stamp, net, s)


@njit(cache=True)
def _begin(
    start: Ints,
    wanted: Wanted,
    me: int,
    limit: Ints,
    stamp: int,
    s: Scratch,
    prints: npt.NDArray[np.int8],
    lengths: Floats32,
    keys: Keys,
) -> int:
    """Put the first contacts into an empty beam; return how many there are."""
    beam_begin(s.counters, limit)
    vector, inverse, key, exact, _ = wanted
    known = 0
    for i in range(len(start)):
        row = start[i]
        if row != me and s.seen[row] != stamp:
            s.seen[row] = stamp
            s.known[known] = row
            known += 1
            score = _score(row, vector, inverse, key, exact, prints, lengths, keys)
            s.stamps[row], s.scores[row] = stamp, score
            beam_add(s.rows, s.beam_scores, s.marks, s.counters, limit, row, score)
    return known


@njit(cache=True)
def search(
    net: Net, wanted: Wanted, me: int, start: Ints, limit: Ints, most: int, s: Scratch
) -> tuple[int, int, int]:
    """Look up from these contacts; answers take one time step, silence longer than all answers.

    Returns how many were asked (in `s.asked`, in order), how many became known (`s.known`), and
    the rounds: the length of the longest chain of answers.  The answer is the beam, `s.rows`.
    """
    s.clock[0] += 1
    rows, scores, marks, counters = s.rows, s.beam_scores, s.marks, s.counters
    known = _begin(start, wanted, me, limit, s.clock[0], s, net.prints, net.inverse, net.keys)
    asked, known, rounds, depth = _walk(net, wanted, me, limit, most, s, 0, known, 1)
    while _again(net, limit, asked, s):
        size = min(limit[K], counters[SIZE])
        kept, kept_scores = rows[:size].copy(), scores[:size].copy()
        again = _elsewhere(net, limit[DIGIT], asked, known, s)
        beam_restart(counters, limit)
        for i in range(len(again)):
            other = s.known[again[i]]
            beam_add(rows, scores, marks, counters, limit, other, s.scores[other])
        asked, known, longest, depth = _walk(net, wanted, me, limit, most, s, asked, known, depth)
        rounds = max(rounds, longest)
        beam_merge(rows, scores, marks, counters, limit, kept, kept_scores)
    return asked, known, rounds


@njit(cache=True)
def _walk(
    net: Net,
    wanted: Wanted,
    me: int,
    limit: Ints,
    most: int,
    s: Scratch,
    asked: int,
    known: int,
    depth: int,
) -> tuple[int, int, int, int]:
    """Ask until nobody is left to ask; `asked` and `known` go on from what they are.

    depth: of the first requests in the chain of answers; returned as of those that would follow.
    """
    stamp, budget = s.clock[0], limit[BUDGET]
    keys, dead, packed, sizes = net.keys, net.dead, net.packed, net.packed_sizes
    seen, reply, reply_scores = s.seen, s.reply, s.reply_scores
    rows, beam_scores, marks, counters = s.rows, s.beam_scores, s.marks, s.counters
    queue, depths, every, key, exact = s.queue, s.depths, s.known, wanted.key, wanted.exact
    head = tail = rounds = 0
    late_head = late_tail = 0  # the silent ones wait at the other end of the same memory
    while True:
        while True:
            row = beam_next(rows, marks, counters, limit)
            if row < 0:
                break
            s.asked[asked] = row
            asked += 1
            if dead[row]:
                late_tail += 1
                queue[budget - late_tail], depths[budget - late_tail] = row, depth
            else:
                queue[tail], depths[tail] = row, depth
                tail += 1
        if head < tail:
            row, depth = queue[head], depths[head] + 1
            head += 1
            beam_answered(rows, marks, counters, row)
            count = sizes[row]
            if count < 0:
                count = pack(net, row)
            size = _best(packed[row], count, wanted, me, most, stamp, net, s)
            s.clock[1] += size
            for i in range(size):
                other = reply[i]
                if seen[other] != stamp:
                    seen[other] = stamp
                    every[known] = other
                    known += 1
                    beam_add(rows, beam_scores, marks, counters, limit, other, reply_scores[i])
                    if exact and limit[K] == 1 and keys[other] == key:
                        counters[FOUND] = 1
        elif late_head < late_tail:
            late_head += 1
            row, depth = queue[budget - late_head], depths[budget - late_head] + 1
            beam_failed(rows, beam_scores, marks, counters, row)
        else:
            return asked, known, rounds, depth
        rounds = max(rounds, depth - 1)


@njit(cache=True)
def _again(net: Net, limit: Ints, asked: int, s: Scratch) -> bool:
    """Return whether a search that has ended is to begin anew."""
    if s.counters[STARTS] >= limit[AGAIN] or asked >= limit[BUDGET] or s.counters[SIZE] == 0:
        return False
    rows = s.rows[: min(limit[K], s.counters[SIZE])]
    prints, inverse = net.prints[rows], net.inverse[rows]
    return looks_wrong(s.beam_scores[: len(rows)], prints, inverse)


@njit(cache=True)
def _elsewhere(net: Net, digit: int, asked: int, known: int, s: Scratch) -> Ints:
    """Return which of the known to begin anew with, as places in `s.known`."""
    rows = s.known[:known]
    were = np.zeros(known, np.bool_)
    groups = np.empty(known, np.int64)
    shift = np.uint64(64 - digit)
    home = 0
    for i in range(known):
        if rows[i] == s.rows[0]:
            home = i
        groups[i] = np.int64(net.keys[rows[i]] >> shift)
        for j in range(asked):
            were[i] |= s.asked[j] == rows[i]
    return starts_elsewhere(s.scores[rows], were, groups, groups[home])


@njit(cache=True)
def best_of(s: Scratch, k: int) -> Ints:
    """Return the k best of the search that has just ended."""
    return s.rows[: min(k, s.counters[SIZE])].copy()
