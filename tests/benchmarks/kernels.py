"""Time each kernel against its NumPy twin in one process, and compare their answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from qsynth.kernels import cosine_top, warm_up, xor_nearest


def best_of(call: Callable[[], Any], runs: int = 7) -> tuple[float, Any]:
    times, answer = [], None
    for _ in range(runs):
        began = time.perf_counter()
        answer = call()
        times.append(time.perf_counter() - began)
    return min(times), answer


def numpy_xor(target: np.ndarray, ids: np.ndarray, k: int) -> np.ndarray:
    words = (ids ^ target).view(">u8")
    return np.lexsort(words.T[::-1])[:k]


def numpy_cosine(query: np.ndarray, keys: np.ndarray, m: int) -> np.ndarray:
    wide = keys.astype(np.float32)
    scores = wide @ query.astype(np.float32) / np.linalg.norm(wide, axis=1)
    return np.argsort(-scores, kind="stable")[:m]


def main() -> None:
    warm_up()
    rng = np.random.default_rng(0)
    for rows in (100, 10_000, 200_000):
        ids = rng.integers(0, 256, (rows, 32)).astype(np.uint8)
        keys = rng.integers(-127, 128, (rows, 320)).astype(np.int8)
        for name, ours, twin in (
            (
                "xor_nearest",
                lambda i=ids: xor_nearest(i[0], i, 10),
                lambda i=ids: numpy_xor(i[0], i, 10),
            ),
            (
                "cosine_top",
                lambda k=keys: cosine_top(k[0], k, 10)[0],
                lambda k=keys: numpy_cosine(k[0], k, 10),
            ),
        ):
            fast, answer = best_of(ours)
            slow, expected = best_of(twin)
            same = bool(np.array_equal(answer, expected))
            print(f"{name:12} {rows:7} rows  {slow / fast:6.1f} x NumPy  same answer: {same}")


if __name__ == "__main__":
    main()
