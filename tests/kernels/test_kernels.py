"""Each kernel against its slow obvious twin."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.kernels import cosine_top, diverse, xor_nearest


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


def test_diverse_drops_what_is_more_alike_to_a_kept_one(rng: np.random.Generator) -> None:
    for _ in range(30):
        keys = rng.integers(-127, 128, (12, 16)).astype(np.int8)
        own = rng.integers(-127, 128, 16).astype(np.int8)
        order, scores = cosine_top(own, keys, 12)
        assert diverse(scores, keys[order], 4).tolist() == twin_diverse(scores, keys[order], 4)


def test_diverse_keeps_one_of_many_equal_fingerprints() -> None:
    keys = np.tile(np.arange(1, 17, dtype=np.int8), (5, 1))
    scores = np.full(5, 0.5, np.float32)
    assert diverse(scores, keys, 4).tolist() == [0]


def test_warm_up_compiles_all_that_tables_and_lookups_use() -> None:
    """What is compiled after a fork costs every child seconds and megabytes."""
    import subprocess
    import sys

    code = """
import numpy as np
from qsynth.dht import Contact, Lookup, Table
from qsynth.dht.config import Rings
from qsynth.kernels import cosine, rings, warm_up, xor
warm_up()
kernels = (xor._nearest, cosine._top, rings._diverse)
before = [len(k.signatures) for k in kernels]
rng = np.random.default_rng(0)
made = [Contact(rng.bytes(32), "a", rng.integers(-9, 9, 16).astype(np.int8).tobytes(), 1)
        for _ in range(9)]
table = Table(rng.bytes(32), 16, Rings())
table.set_own(np.ones(16, np.int8))
for contact in made:
    table.add(contact)
table.nearest(made[0].id, 3)
for wanted in (table.own, made[0].vector()):
    table.alike(wanted, 3)
    Lookup(wanted, 3, table.me, made, Rings()).next()
Lookup(made[0].id, 3, table.me, made, Rings()).next()
print(before == [len(k.signatures) for k in kernels])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "True", done.stderr
