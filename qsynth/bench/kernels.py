"""Time the scanning kernels against faiss, usearch and hnswlib, and against memory itself."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import njit

from qsynth.errors import ConfigError
from qsynth.kernels import cosine_top, hamming_top, inner_top, inverse_lengths, xor_nearest
from qsynth.types import Ints

K = 10
DIMENSIONS = 64
RUNS = 7
Timed = tuple[str, Callable[[], Any]]


def compare_kernels(rows: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each kernel: its time, memory's, the others', and whether answers agree.

    One thread each; the best of several runs.  Raises ConfigError where the extra is missing.
    """
    faiss, usearch, hnswlib = _peers()
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(seed)
    stream = _bandwidth()
    words = rng.integers(0, 256, (rows, 32)).astype(np.uint8)
    yield _row("xor", rows, words.nbytes, stream, lambda: xor_nearest(words[0], words, K), [])
    binary = faiss.IndexBinaryFlat(256)
    binary.add(words)
    index = usearch.index
    others: list[Timed] = [
        ("faiss", lambda: binary.search(words[:1], K)[1][0]),
        (
            "usearch",
            lambda: (
                index.search(words, words[:1], K, "hamming", exact=True, threads=1, dtype="b1").keys
            ),
        ),
    ]
    yield _row(
        "hamming", rows, words.nbytes, stream, lambda: hamming_top(words[0], words, K)[0], others
    )
    yield _cosine_int8(rng, rows, stream, index)
    yield _cosine_f32(rng, rows, stream, faiss, index, hnswlib)


def _cosine_int8(rng: np.random.Generator, rows: int, stream: float, index: Any) -> dict[str, Any]:
    keys = rng.integers(-127, 128, (rows, DIMENSIONS)).astype(np.int8)
    inverse = inverse_lengths(keys)
    others: list[Timed] = [
        (
            "usearch",
            lambda: index.search(keys, keys[:1], K, "cos", exact=True, threads=1, dtype="i8").keys,
        )
    ]
    size = keys.nbytes + inverse.nbytes
    return _row(
        "cosine_int8", rows, size, stream, lambda: cosine_top(keys[0], keys, K, inverse)[0], others
    )


def _cosine_f32(
    rng: np.random.Generator, rows: int, stream: float, faiss: Any, index: Any, hnswlib: Any
) -> dict[str, Any]:
    vectors = rng.standard_normal((rows, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = faiss.IndexFlatIP(DIMENSIONS)
    flat.add(vectors)
    brute = hnswlib.BFIndex(space="ip", dim=DIMENSIONS)
    brute.init_index(max_elements=rows)
    brute.add_items(vectors)
    brute.set_num_threads(1)
    others: list[Timed] = [
        ("faiss", lambda: flat.search(vectors[:1], K)[1][0]),
        (
            "usearch",
            lambda: index.search(vectors, vectors[:1], K, "ip", exact=True, threads=1).keys,
        ),
        ("hnswlib", lambda: brute.knn_query(vectors[:1], k=K)[0][0]),
    ]
    ours = lambda: inner_top(vectors[0], vectors, K)[0]  # noqa: E731
    return _row("cosine_f32", rows, vectors.nbytes, stream, ours, others)


def _row(
    kernel: str, rows: int, size: int, stream: float, ours: Callable[[], Any], others: list[Timed]
) -> dict[str, Any]:
    """Time all side by side, turn by turn, so that a busy moment hits each alike."""
    every: list[Timed] = [("qsynth", ours), *others]
    answers = {name: np.asarray(call()).astype(np.int64).ravel() for name, call in every}
    best = dict.fromkeys(answers, float("inf"))
    for _ in range(RUNS):
        for name, call in every:
            began = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - began)
    memory = size / stream
    row: dict[str, Any] = {"kernel": kernel, "rows": rows, "ms": round(1e3 * best["qsynth"], 3)}
    row["memory_ms"] = round(1e3 * memory, 3)
    row["over_memory"] = round(best["qsynth"] / memory, 3)
    for name, _ in others:
        row[f"{name}_ms"] = round(1e3 * best[name], 3)
        row[f"{name}_same"] = bool(set(answers[name]) == set(answers["qsynth"]))
    if others:
        fastest = min(best[name] for name, _ in others)
        row["faster_than_fastest"] = round(fastest / best["qsynth"], 2)
    return row


@njit(cache=True, fastmath=True)
def _sum(values: Ints) -> int:
    total = 0
    for i in range(values.shape[0]):
        total += values[i]
    return total


def _bandwidth() -> float:
    """Return bytes a second of one thread that reads memory in order, the best of several runs."""
    values = np.ones(1 << 25, np.int64)
    _sum(values)
    best = float("inf")
    for _ in range(RUNS):
        began = time.perf_counter()
        _sum(values)
        best = min(best, time.perf_counter() - began)
    return float(values.nbytes / best)


def _peers() -> tuple[Any, Any, Any]:
    made = []
    for name in ("faiss", "usearch.index", "hnswlib"):
        try:
            made.append(importlib.import_module(name))
        except ImportError:
            raise ConfigError(
                f"bench kernels: {name.split('.')[0]} is not installed; pip install 'qsynth[bench]'"
            ) from None
    faiss, index, hnswlib = made
    return faiss, type("usearch", (), {"index": index}), hnswlib
