"""Joins and gossip of simulated nodes."""

from __future__ import annotations

import numpy as np
from numba import njit

from qsynth.bench.net import Net, learn, pack, shared_digits
from qsynth.bench.search import Scratch, Wanted, reply_of, search
from qsynth.types import Ints

MOST_FOUND = 4096  # contacts that a join keeps in mind


@njit(cache=True)
def join(
    net: Net,
    me: int,
    through: int,
    exact: Ints,
    ring: Ints,
    near: Ints,
    most: int,
    s: Scratch,
    found: Ints,
) -> int:
    """Let a node join through another: find its id, then who is alike, ring by ring.

    exact, ring, near: limits of the three kinds of search.  Returns the requests it took.
    """
    key, bits = net.keys[me], net.bits[0]
    found[0] = through
    wanted = Wanted(net.prints[me], net.inverse[me], key, True, 0)
    asked, known, _ = search(net, wanted, me, found[:1], exact, most, s)
    rpcs = asked
    count = _exchange(net, me, asked, known, s, found, 0)
    deepest = 0
    for i in range(count):
        deepest = max(deepest, shared_digits(key, net.keys[found[i]], bits))
    deepest = min(deepest, net.rings.shape[1] - 1)
    start = np.empty(len(found), np.int64)
    for level in range(deepest, -1, -1):
        wanted = Wanted(net.prints[me], net.inverse[me], key, False, level)
        size = 0
        for i in range(count):
            if shared_digits(key, net.keys[found[i]], bits) >= level:
                start[size] = found[i]
                size += 1
        limit = near if level == 0 else ring
        asked, known, _ = search(net, wanted, me, start[:size], limit, most, s)
        rpcs += asked
        count = _exchange(net, me, asked, known, s, found, count)
    return rpcs


@njit(cache=True)
def _exchange(
    net: Net, me: int, asked: int, known: int, s: Scratch, found: Ints, count: int
) -> int:
    """Whoever was asked knows the asker now; the asker knows whom it was told of."""
    asker = np.full(1, me, np.int64)
    for i in range(asked):
        learn(net, s.asked[i], asker, 1)
    learn(net, me, s.known, known)
    for i in range(known):
        if count < len(found):
            found[count] = s.known[i]
            count += 1
    return count


@njit(cache=True)
def join_all(
    net: Net, order: Ints, through: Ints, exact: Ints, ring: Ints, near: Ints, most: int, s: Scratch
) -> Ints:
    """Let all nodes join, one after the other.  Returns the requests of each join."""
    rpcs = np.zeros(len(order), np.int64)
    found = np.empty(MOST_FOUND, np.int64)
    for at in range(1, len(order)):
        rpcs[at] = join(net, order[at], through[at], exact, ring, near, most, s, found)
    return rpcs


@njit(cache=True)
def gossip_all(net: Net, draws: Ints, levels: Ints, most: int, s: Scratch) -> None:
    """Let each node exchange contacts with one of its own.

    draws: (N,) whom, by its place in the table; levels: (N,) of which ring.
    """
    asker = np.empty(1, np.int64)
    for me in range(len(draws)):
        count = pack(net, me)
        if count == 0:
            continue
        other = net.packed[me, draws[me] % count]
        shared = shared_digits(net.keys[me], net.keys[other], net.bits[0])
        level = levels[me] % (shared + 1)
        told = _told(net, me, other, level, most, s)
        answer = _told(net, other, me, level, most, s)
        learn(net, me, answer, len(answer))
        asker[0] = me
        learn(net, other, asker, 1)
        learn(net, other, told, len(told))


@njit(cache=True)
def _told(net: Net, teller: int, to: int, level: int, most: int, s: Scratch) -> Ints:
    wanted = Wanted(net.prints[to], net.inverse[to], net.keys[to], False, level)
    s.clock[0] += 1
    size = reply_of(net, teller, wanted, to, most, s, s.clock[0])
    return s.reply[:size].copy()
