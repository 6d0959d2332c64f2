"""Compile every kernel once, or load it from numba's cache."""

from __future__ import annotations

import numpy as np

from qsynth.kernels import beam, restart, rings
from qsynth.kernels.batch import cosine_top_many, hamming_top_many, xor_nearest_many
from qsynth.kernels.cosine import cosine_top, inner_top, inverse_lengths, likeness
from qsynth.kernels.hamming import hamming_top
from qsynth.kernels.pool import rectified_means
from qsynth.kernels.rings import Prints
from qsynth.kernels.xor import xor_nearest


def warm_up() -> None:
    """Call every kernel with all the types that tables and lookups use.

    To numba a read-only array, as it comes from a message's bytes, is another type: what is not
    compiled before a fork is compiled again in every child.
    """
    ids = np.frombuffer(bytes(64), np.uint8).reshape(2, 32)
    received = np.frombuffer(bytes(32), np.int8).reshape(2, 16)
    own = np.zeros((2, 16), np.int8)
    for every in (ids, ids.copy()):
        xor_nearest(ids[0], every, 1)
        hamming_top(ids[0], every, 1)
    for query in (own[0], received[0]):
        for keys in (own, received):
            cosine_top(query, keys, 1)
        for other in (own[0], received[0]):
            likeness(query, inverse_lengths(own)[0], other, inverse_lengths(received)[0])
    vectors = np.zeros((2, 16), np.float32)
    inner_top(vectors[0], vectors, 1)
    maps = np.zeros((1, 1, 2, 2), np.float32)
    rectified_means(maps, np.float32(0.0), 1, np.zeros((1, 2, 2, 2), np.float32))
    warm_up_rings(own)
    warm_up_beam()


def warm_up_rings(prints: Prints) -> None:
    """Give a row all places of a table, and take them away again."""
    members, ranks = np.zeros(2, np.int32), np.zeros(2, np.float32)
    levels = (
        np.zeros((1, 2), np.int32),
        np.zeros((1, 2), np.float32),
        np.zeros((1, 2), np.float32),
    )
    sizes = np.zeros(1, np.int8)
    rank = rings.rank_of(np.float32(0.5), 0, np.uint64(1), np.uint64(2))
    rings.place(
        members,
        ranks,
        0,
        *levels,
        sizes,
        1,
        rank,
        np.float32(0.5),
        0,
        prints,
        inverse_lengths(prints),
    )
    rings.placed(members, 1, levels[0], levels[2], sizes, np.zeros(4, np.int32))
    rings.chance_of(np.uint64(1), np.uint64(2))
    rings.near_remove(members, ranks, 1, 1)
    rings.rings_remove(*levels, sizes, 1)
    rings.density_of(ranks, 1)


def warm_up_beam() -> None:
    """Take one search through all its steps."""
    limit = beam.limits(1, 1, 1, 1, 4, 0)
    rows, values, marks = np.zeros(4, np.int64), np.zeros(4), np.zeros(4, np.int8)
    counters = np.zeros(beam.COUNTERS, np.int64)
    beam.beam_begin(counters, limit)
    for row in (0, 1):
        beam.beam_add(rows, values, marks, counters, limit, row, 0.5)
        beam.beam_next(rows, marks, counters, limit)
    beam.beam_answered(rows, marks, counters, 0)
    beam.beam_failed(rows, values, marks, counters, 1)
    beam.beam_restart(counters, limit)
    beam.beam_merge(rows, values, marks, counters, limit, rows[:1].copy(), values[:1].copy())
    prints = np.ones((2, 8), np.int8)
    restart.looks_wrong(values[:2], prints, inverse_lengths(prints))
    restart.starts_elsewhere(values[:2], np.zeros(2, np.bool_), np.zeros(2, np.int64), 1)


def warm_up_batch() -> None:
    """Call the kernels of many queries, which a node does not use, and measurements do."""
    words = np.zeros((2, 32), np.uint8)
    cosine_top_many(np.ones((1, 8), np.int8), np.ones((2, 8), np.int8), 1)
    hamming_top_many(words[:1], words, 1)
    xor_nearest_many(words[:1], words, 1)
