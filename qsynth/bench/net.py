"""The tables of many nodes in a few arrays, and what one node does with its table.

The rules are those of `qsynth.dht.Table`, by the same kernels: prefix rings and a near set.
Functions that run for every contact take arrays, not tuples of them: a compiled function counts
the references of every array in a tuple at each call.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.kernels.cosine import inverse_lengths, likeness
from qsynth.kernels.rings import (
    chance_of,
    density_of,
    near_insert,
    near_remove,
    place,
    placed,
    put_new,
    rank_of,
    rings_remove,
)
from qsynth.types import Floats32, Ints

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int32]
Sizes = npt.NDArray[np.int8]
MOST_CONTACTS = 128  # of a simulated table; with the usual settings it has under 80
SPARE_BITS = 6  # of buckets, beyond the depth at which nodes are expected
ID_BITS = 64  # of an id, all that the simulator keeps: two of a million nodes do not share them


class Net(NamedTuple):
    """Hold N nodes.

    prints: (N, d) int8.  inverse: (N,) float32.  keys: (N,) uint64, the ids' first bits.
    near, near_ranks: (N, n).  near_sizes: (N,).  kin, kin_scores: (N, n), the most alike, by whom
    density, (N,) in steps, is told.
    rings, ring_ranks, ring_scores: (N, levels, r).  ring_sizes: (N, levels).
    buckets: (N, bits, b), bucket_sizes: (N, bits), by how many bits of the id are shared.
    packed: (N, most) each node's contacts, each once; packed_sizes: (N,) how many, -1 where they
    have changed.  dead: (N,).  bits: (1,) of an id's digit.
    """

    prints: npt.NDArray[np.int8]
    inverse: Floats32
    keys: Keys
    near: Rows
    near_ranks: Floats32
    near_sizes: Sizes
    kin: Rows
    kin_scores: Floats32
    kin_sizes: Sizes
    density: Sizes
    rings: Rows
    ring_ranks: Floats32
    ring_scores: Floats32
    ring_sizes: Sizes
    buckets: Rows
    bucket_sizes: Sizes
    packed: Rows
    packed_sizes: npt.NDArray[np.int16]
    dead: npt.NDArray[np.bool_]
    bits: Ints


def empty_net(
    prints: npt.NDArray[np.int8],
    keys: Keys,
    levels: int,
    ring_size: int,
    near_size: int,
    bucket_size: int,
    digit_bits: int,
) -> Net:
    """Return nodes that know nobody."""
    n, shape, depth = (
        len(prints),
        (len(prints), levels, ring_size),
        levels * digit_bits + SPARE_BITS,
    )
    return Net(
        prints=prints,
        inverse=inverse_lengths(prints),
        keys=keys,
        near=np.zeros((n, near_size), np.int32),
        near_ranks=np.zeros((n, near_size), np.float32),
        near_sizes=np.zeros(n, np.int8),
        kin=np.zeros((n, near_size), np.int32),
        kin_scores=np.zeros((n, near_size), np.float32),
        kin_sizes=np.zeros(n, np.int8),
        density=np.zeros(n, np.int8),
        rings=np.zeros(shape, np.int32),
        ring_ranks=np.zeros(shape, np.float32),
        ring_scores=np.zeros(shape, np.float32),
        ring_sizes=np.zeros((n, levels), np.int8),
        buckets=np.zeros((n, depth, bucket_size), np.int32),
        bucket_sizes=np.zeros((n, depth), np.int8),
        packed=np.zeros((n, MOST_CONTACTS), np.int32),
        packed_sizes=np.zeros(n, np.int16),
        dead=np.zeros(n, np.bool_),
        bits=np.array([digit_bits], np.int64),
    )


@njit(cache=True)
def shared_bits(one: np.uint64, other: np.uint64) -> int:
    """Return how many leading bits two ids share."""
    apart = one ^ other
    shared = 0
    top = np.uint64(1) << np.uint64(ID_BITS - 1)
    while shared < ID_BITS and (apart & top) == 0:
        apart = apart << np.uint64(1)
        shared += 1
    return shared


@njit(cache=True)
def shared_digits(one: np.uint64, other: np.uint64, bits: int) -> int:
    """Return how many leading digits of `bits` bits two ids share."""
    return shared_bits(one, other) // bits


@njit(cache=True)
def learn(net: Net, me: int, others: Ints, count: int) -> None:
    """Let a node take contacts into its table, where there is use for them.

    others: rows, of which the first `count` are offered in this order.
    """
    prints, inverse, keys, density = net.prints, net.inverse, net.keys, net.density
    near, near_ranks = net.near[me], net.near_ranks[me]
    kin, kin_scores, kin_size = net.kin[me], net.kin_scores[me], int(net.kin_sizes[me])
    rings, ranks, scores, sizes = (
        net.rings[me],
        net.ring_ranks[me],
        net.ring_scores[me],
        net.ring_sizes[me],
    )
    buckets, held = net.buckets[me], net.bucket_sizes[me]
    bits, size = net.bits[0], int(net.near_sizes[me])
    for i in range(count):
        other = others[i]
        if other == me:
            continue
        score = np.float32(likeness(prints[me], inverse[me], prints[other], inverse[other]))
        rank = rank_of(score, int(density[other]), keys[me], keys[other])
        depth = shared_bits(keys[me], keys[other])
        shared = depth // bits
        _into_bucket(buckets, held, min(depth, len(held) - 1), other, keys[me], keys)
        kin_size = near_insert(kin, kin_scores, kin_size, other, score)
        size = place(
            near,
            near_ranks,
            size,
            rings,
            ranks,
            scores,
            sizes,
            other,
            rank,
            score,
            shared,
            prints,
            inverse,
        )
    net.near_sizes[me], net.kin_sizes[me] = size, kin_size
    net.density[me] = density_of(kin_scores, kin_size)
    net.packed_sizes[me] = -1


@njit(cache=True)
def _into_bucket(
    buckets: Rows, sizes: Sizes, depth: int, row: int, key: np.uint64, keys: Keys
) -> None:
    """Offer a row to its bucket, which keeps those of the largest draw."""
    least, least_draw = -1, chance_of(key, keys[row])
    for i in range(sizes[depth]):
        if buckets[depth, i] == row:
            return
        draw = chance_of(key, keys[buckets[depth, i]])
        if draw < least_draw:
            least, least_draw = i, draw
    if sizes[depth] < buckets.shape[1]:
        buckets[depth, sizes[depth]] = row
        sizes[depth] += 1
    elif least >= 0:
        buckets[depth, least] = row


@njit(cache=True)
def forget(net: Net, me: int, other: int) -> None:
    """Let a node take a contact out of its table: it has not answered."""
    net.near_sizes[me] = near_remove(
        net.near[me], net.near_ranks[me], int(net.near_sizes[me]), other
    )
    net.kin_sizes[me] = near_remove(net.kin[me], net.kin_scores[me], int(net.kin_sizes[me]), other)
    rings_remove(net.rings[me], net.ring_ranks[me], net.ring_scores[me], net.ring_sizes[me], other)
    sizes = net.bucket_sizes[me]
    for depth in range(len(sizes)):
        kept = 0
        for i in range(sizes[depth]):
            if net.buckets[me, depth, i] != other:
                net.buckets[me, depth, kept] = net.buckets[me, depth, i]
                kept += 1
        sizes[depth] = kept
    net.packed_sizes[me] = -1


@njit(cache=True)
def pack(net: Net, me: int) -> int:
    """Write a node's contacts into `packed`, each once, and return how many."""
    if net.packed_sizes[me] >= 0:
        return int(net.packed_sizes[me])
    out, keys, buckets, sizes = net.packed[me], net.keys, net.buckets[me], net.bucket_sizes[me]
    count = placed(
        net.near[me],
        int(net.near_sizes[me]),
        net.rings[me],
        net.ring_scores[me],
        net.ring_sizes[me],
        out,
    )
    held = np.zeros(len(sizes), np.int64)
    for i in range(count):
        held[min(shared_bits(keys[me], keys[out[i]]), len(sizes) - 1)] += 1
    # A bucket adds what rings and near set have too few of.
    for depth in range(len(sizes)):
        for i in range(sizes[depth]):
            if held[depth] < buckets.shape[1]:
                before, count = count, put_new(out, count, buckets[depth, i])
                held[depth] += count - before
    net.packed_sizes[me] = count
    return int(net.packed_sizes[me])


@njit(cache=True)
def pack_all(net: Net) -> Ints:
    """Write every node's contacts into `packed`; return in how many tables each node is."""
    degree = np.zeros(len(net.packed_sizes), np.int64)
    for me in range(len(net.packed_sizes)):
        count = pack(net, me)
        for i in range(count):
            degree[net.packed[me, i]] += 1
    return degree
