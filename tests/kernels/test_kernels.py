"""Each kernel against its slow obvious twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from qsynth.kernels import (
    beam,
    cosine_top,
    cosine_top_many,
    hamming_top,
    hamming_top_many,
    inner_top,
    inverse_lengths,
    rectified_means,
    restart,
    xor_nearest,
    xor_nearest_many,
)
from qsynth.kernels.rings import near_insert, ring_insert


def twin_xor(target: bytes, ids: list[bytes], k: int) -> list[int]:
    wanted = int.from_bytes(target, "big")
    distance = [int.from_bytes(i, "big") ^ wanted for i in ids]
    return sorted(range(len(ids)), key=lambda row: (distance[row], row))[:k]


def twin_cosine(query: np.ndarray, keys: np.ndarray, m: int) -> list[int]:
    # Whole numbers decide: the square of the cosine, with its sign, is a ratio of integers.
    from fractions import Fraction

    def score(key: np.ndarray) -> Fraction:
        a, b = query.astype(object), key.astype(object)
        dot, length = int(a @ b), int(a @ a) * int(b @ b)
        return Fraction(0) if length == 0 else Fraction(dot * abs(dot), length)

    scores = [score(key) for key in keys]
    return sorted(range(len(keys)), key=lambda row: (-scores[row], row))[:m]


def twin_diverse(scores: np.ndarray, keys: np.ndarray, size: int) -> list[int]:
    kept: list[int] = []
    for row in range(len(keys)):
        a = keys[row].astype(float)
        alike = False
        for other in kept:
            b = keys[other].astype(float)
            length = np.linalg.norm(a) * np.linalg.norm(b)
            alike |= bool(length > 0 and a @ b / length > scores[row] + 1e-6)
        if not alike and len(kept) < size:
            kept.append(row)
    return kept


EDGES = [b"\0" * 32, b"\xff" * 32, b"\x80" + b"\0" * 31, b"\x7f" + b"\xff" * 31]


@pytest.mark.parametrize("k", [0, 1, 7, 100])
def test_xor_nearest_is_the_true_order(rng: np.random.Generator, k: int) -> None:
    ids = [rng.bytes(32) for _ in range(40)] + EDGES + [EDGES[0]]
    matrix = np.frombuffer(b"".join(ids), np.uint8).reshape(-1, 32)
    for target in [rng.bytes(32) for _ in range(20)] + EDGES:
        got = xor_nearest(np.frombuffer(target, np.uint8), matrix, k)
        assert got.tolist() == twin_xor(target, ids, k)


def test_xor_nearest_of_nothing_is_nothing() -> None:
    got = xor_nearest(np.zeros(32, np.uint8), np.zeros((0, 32), np.uint8), 3)
    assert got.tolist() == []


@pytest.mark.parametrize("m", [0, 1, 5, 100])
def test_cosine_top_is_the_true_order(rng: np.random.Generator, m: int) -> None:
    keys = rng.integers(-127, 128, (50, 33)).astype(np.int8)
    keys[3] = 0
    keys[7] = keys[9]
    keys[11], keys[12] = 127, -127
    for query in (keys[7], keys[3], keys[11], rng.integers(-127, 128, 33).astype(np.int8)):
        rows, scores = cosine_top(query, keys, m)
        assert rows.tolist() == twin_cosine(query, keys, m)
        assert np.all(np.diff(scores) <= 0)


def offered(keys: np.ndarray, own: np.ndarray, size: int) -> tuple[list[int], list[int]]:
    """A ring that was offered all keys in turn, and its twin: the rule applied anew each time."""
    members, kept = np.zeros(size, np.int32), np.zeros(size, np.float32)
    ranks, inverse, count = np.zeros(size, np.float32), inverse_lengths(keys), 0
    _, scores = cosine_top(own, keys, len(keys))
    by_row = dict(zip(cosine_top(own, keys, len(keys))[0].tolist(), scores, strict=True))
    twin: list[int] = []
    for row in range(len(keys)):
        count = ring_insert(
            members, ranks, kept, count, row, by_row[row], by_row[row], keys, inverse
        )
        pool = sorted([*twin, row], key=lambda r: -by_row[r])
        chosen = twin_diverse(np.array([by_row[r] for r in pool]), keys[pool], size)
        full = len(twin) == size and by_row[row] <= by_row[twin[-1]]
        twin = twin if full else [pool[at] for at in chosen]
    return members[:count].tolist(), twin


def test_a_ring_keeps_the_near_and_diverse(rng: np.random.Generator) -> None:
    for _ in range(30):
        keys = rng.integers(-127, 128, (40, 8)).astype(np.int8)
        ring, twin = offered(keys, rng.integers(-127, 128, 8).astype(np.int8), 5)
        assert ring == twin
        assert 1 <= len(ring) <= 5


def test_a_ring_keeps_several_equal_fingerprints_of_an_owner_like_them() -> None:
    keys = np.tile(np.arange(1, 17, dtype=np.int8), (5, 1))
    members, scores, ranks = np.zeros(4, np.int32), np.zeros(4, np.float32), np.zeros(4, np.float32)
    inverse, count, half = inverse_lengths(keys), 0, np.float32(0.5)
    for row in (0, 1, 1, 0):
        count = ring_insert(members, ranks, scores, count, row, half, half, keys, inverse)
    assert members[:count].tolist() == [0]


def test_a_near_set_is_the_best_of_all_each_once(rng: np.random.Generator) -> None:
    members, kept, size = np.zeros(5, np.int32), np.zeros(5, np.float32), 0
    scores = rng.standard_normal(30).astype(np.float32)
    for row in [*range(30), *range(30)]:
        size = near_insert(members, kept, size, row, scores[row])
    assert members.tolist() == sorted(range(30), key=lambda r: -scores[r])[:5]


@pytest.mark.parametrize("m", [0, 1, 6, 60])
def test_inner_and_hamming_top_are_the_true_orders(rng: np.random.Generator, m: int) -> None:
    vectors = rng.standard_normal((50, 24)).astype(np.float32)
    rows, scores = inner_top(vectors[3], vectors, m)
    true = vectors.astype(np.float64) @ vectors[3].astype(np.float64)
    assert rows.tolist() == np.argsort(-true, kind="stable")[:m].tolist()
    np.testing.assert_allclose(scores, true[rows], rtol=1e-5)
    words = rng.integers(0, 256, (50, 32)).astype(np.uint8)
    words[7] = words[3]
    rows, apart = hamming_top(words[3], words, m)
    bits = [int.from_bytes(w.tobytes(), "big") for w in words]
    true_bits = [(b ^ bits[3]).bit_count() for b in bits]
    assert rows.tolist() == sorted(range(50), key=lambda r: (true_bits[r], r))[:m]
    assert apart.tolist() == [true_bits[r] for r in rows]


@pytest.mark.parametrize(
    ("count", "n", "m"), [(0, 5, 3), (7, 0, 3), (5, 3000, 0), (9, 2500, 12), (3, 4, 9)]
)
def test_many_at_once_are_what_each_is_alone(rng, count: int, n: int, m: int) -> None:
    prints = rng.integers(-20, 20, (n + count, 24)).astype(np.int8)
    keys, queries = prints[:n], prints[n:]
    keys[n // 2 :] = keys[: n - n // 2]  # ties
    rows, scores = cosine_top_many(queries, keys, m)
    words = rng.integers(0, 4, (n + count, 32)).astype(np.uint8)
    near = xor_nearest_many(words[n:], words[:n], m)
    far, bits = hamming_top_many(words[n:], words[:n], m)
    shape = (count, min(m, n))
    assert rows.shape == scores.shape == near.shape == far.shape == bits.shape == shape
    for q in range(count):
        one, alike = cosine_top(queries[q], keys, m)
        assert (rows[q].tolist(), scores[q].tolist()) == (one.tolist(), alike.tolist())
        assert near[q].tolist() == xor_nearest(words[n + q], words[:n], m).tolist()
        single = hamming_top(words[n + q], words[:n], m)
        assert (far[q].tolist(), bits[q].tolist()) == (single[0].tolist(), single[1].tolist())


class TwinSearch:
    """A beam search with lists and sets."""

    def __init__(
        self,
        scores: dict[int, float],
        links: dict[int, list[int]],
        k: int,
        ef: int,
        ef_max: int,
        patience: int,
    ) -> None:
        self.scores, self.links, self.k, self.width = scores, links, k, max(ef, k)
        self.ef_max, self.patience = max(ef_max, k), patience

    def run(self, start: int) -> tuple[list[int], list[int]]:
        known, asked, settled = [start], [], 0
        while True:
            ranked = sorted(known, key=lambda r: (-self.scores[r], known.index(r)))
            free = [r for r in ranked[: self.width] if r not in asked]
            if not free:
                if settled >= self.patience or self.width >= min(self.ef_max, len(known)):
                    return asked, ranked[: self.k]
                self.width += 1
                continue
            asked.append(free[0])
            settled += 1
            for other in self.links[free[0]]:
                if other not in known:
                    best = sorted(-self.scores[r] for r in known)[: self.k]
                    if len(best) < self.k or -self.scores[other] < best[-1]:
                        settled = 0
                    known.append(other)


@pytest.mark.parametrize(("ef", "ef_max", "patience"), [(3, 3, 0), (3, 12, 4), (1, 30, 9)])
def test_a_beam_search_asks_as_its_twin_does(
    rng: np.random.Generator, ef: int, ef_max: int, patience: int
) -> None:
    for _ in range(20):
        scores = {row: float(rng.standard_normal()) for row in range(60)}
        links = {row: rng.choice(60, 6, replace=False).tolist() for row in range(60)}
        limit = beam.limits(3, ef, ef_max, 1, 500, patience)
        rows, values, marks = np.zeros(80, np.int64), np.zeros(80), np.zeros(80, np.int8)
        counters = np.zeros(beam.COUNTERS, np.int64)
        beam.beam_begin(counters, limit)
        known, asked = {0}, []
        beam.beam_add(rows, values, marks, counters, limit, 0, scores[0])
        while (row := beam.beam_next(rows, marks, counters, limit)) >= 0:
            asked.append(row)
            beam.beam_answered(rows, marks, counters, row)
            for other in links[row]:
                if other not in known:
                    known.add(other)
                    beam.beam_add(rows, values, marks, counters, limit, other, scores[other])
        twin = TwinSearch(scores, links, 3, ef, ef_max, patience)
        assert (asked, rows[:3].tolist()) == twin.run(0)


def test_a_beam_keeps_its_budget_and_drops_who_fails() -> None:
    limit = beam.limits(2, 4, 4, 2, 3, 0)
    rows, values, marks = np.zeros(8, np.int64), np.zeros(8), np.zeros(8, np.int8)
    counters = np.zeros(beam.COUNTERS, np.int64)
    beam.beam_begin(counters, limit)
    for row in range(6):
        beam.beam_add(rows, values, marks, counters, limit, row, -float(row))
    asked = [beam.beam_next(rows, marks, counters, limit) for _ in range(3)]
    assert asked == [0, 1, -1]  # two at once
    beam.beam_failed(rows, values, marks, counters, 0)
    beam.beam_answered(rows, marks, counters, 1)
    assert beam.beam_next(rows, marks, counters, limit) == 2
    assert beam.beam_next(rows, marks, counters, limit) == -1  # three in all
    assert rows[: counters[beam.SIZE]].tolist() == [1, 2, 3, 4, 5]


def test_an_answer_looks_wrong_where_it_is_more_alike_among_itself(rng) -> None:
    for spread in (0.1, 0.5, 2.0):
        for away in (0.0, 0.5, 4.0):
            centre = rng.standard_normal(16)
            prints = np.clip(20 * (centre + spread * rng.standard_normal((6, 16))), -127, 127)
            prints = prints.astype(np.int8)
            wanted = 20 * (centre + away * rng.standard_normal(16))
            unit = prints / np.linalg.norm(prints, axis=1, keepdims=True)
            scores = unit @ wanted / np.linalg.norm(wanted)
            pairs = [unit[i] @ unit[j] for i in range(6) for j in range(6) if i != j]
            assert restart.looks_wrong(scores, prints, inverse_lengths(prints)) == (
                np.mean(scores) < np.mean(pairs) - restart.MARGIN
            )
    one = np.ones((1, 16), np.int8)
    assert not restart.looks_wrong(np.array([-1.0]), one, inverse_lengths(one))


def test_a_second_start_takes_the_best_unasked_of_other_groups(rng) -> None:
    for size in (0, 2, 5, 40):
        scores = rng.choice(5, size).astype(float)
        asked = rng.random(size) < 0.5
        groups = rng.integers(0, 4, size)
        free = [i for i in range(size) if not asked[i] and groups[i] != 2]
        twin = sorted(free, key=lambda i: (-scores[i], i))[: restart.STARTS]
        assert restart.starts_elsewhere(scores, asked, groups, 2).tolist() == twin


def test_warm_up_compiles_all_that_tables_and_lookups_use() -> None:
    """What is compiled after a fork costs every child seconds and megabytes."""
    import subprocess
    import sys

    code = """
import numpy as np
from qsynth.dht import Contact, Lookup, Table, lookup_limits
from qsynth.dht.config import Rings
from qsynth.kernels import beam, cosine, restart, rings, warm_up, xor
warm_up()
limits = lookup_limits(Rings(), 3, 1000.0)
kernels = (
    xor._nearest, cosine._top, cosine._inverse_lengths, cosine.likeness, rings.rank_of, rings.place,
    rings.placed, rings.near_remove, rings.rings_remove, rings.density_of, beam.beam_begin,
    beam.beam_add, beam.beam_next, beam.beam_answered, beam.beam_failed,
    beam.beam_restart, beam.beam_merge, restart.looks_wrong, restart.starts_elsewhere,
)
before = [len(k.signatures) for k in kernels]
rng = np.random.default_rng(0)
made = [Contact(rng.bytes(32), "a", rng.integers(-9, 9, 16).astype(np.int8).tobytes(), 1)
        for _ in range(9)]
table = Table(rng.bytes(32), 16, Rings(strategy="rings", bucket_size=1))
table.set_own(np.ones(16, np.int8))
for contact in made:
    table.add(contact)
table.nearest(made[0].id, 3)
table.remove(made[0].id)
table.density
for wanted in (table.own, made[0].vector()):
    table.alike(wanted, 3)
    lookup = Lookup(wanted, 3, table.me, made, limits)
    one, other, _ = lookup.next()
    lookup.answered(one.id, made)
    lookup.failed(other.id)
    lookup.done
Lookup(made[0].id, 3, table.me, made, limits).next()
for tight in (made, made[:4]):
    lookup = Lookup(-made[0].vector(), 3, table.me, tight, limits)
    while not lookup.done:
        for one in lookup.next():
            lookup.answered(one.id, [])
print(before == [len(k.signatures) for k in kernels])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize(("sides", "cell"), [((14, 14), 4), ((8, 9), 2), ((5, 5), 5), ((7, 6), 1)])
def test_rectified_means_are_torchs_bit_for_bit(sides, cell) -> None:
    generator = torch.Generator().manual_seed(cell)
    responses = torch.randn(3, 5, *sides, generator=generator)
    up = F.avg_pool2d((responses - 0.3).relu(), cell)
    down = F.avg_pool2d((-responses - 0.3).relu(), cell)
    out = np.full((3, 10, sides[0] // cell, sides[1] // cell), np.nan, np.float32)
    rectified_means(responses.numpy(), np.float32(0.3), cell, out)
    assert np.array_equal(out, torch.cat([up, down], dim=1).numpy())
    responses[0, 0, 0, 0] = torch.nan
    rectified_means(responses.numpy(), np.float32(0.3), cell, out)
    assert np.isnan(out[0, 0, 0, 0])
    assert np.isnan(out).sum() == 2, "in both maps of one filter, in one cell"
