"""Whole simulated lookups beside hnswlib's queries of one index in memory, at equal recall."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from qsynth.bench.route import K, Mesh, Prints, first_contacts, nearest_of, recalls, search_all
from qsynth.dht.lookup import lookup_limits
from qsynth.errors import ConfigError
from qsynth.kernels import inverse_lengths

RUNS = 7
LINKS, BUILD_EF = 16, 200  # hnswlib's M and ef_construction, as its documentation uses them
WIDTHS = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640)


MISSING = "bench lookup: hnswlib is not installed; pip install 'qsynth[bench]'"


def compare_lookups(mesh: Mesh, queries: Prints, data: str, seed: int) -> dict[str, Any]:
    """Return the row of one mesh: recall and microseconds a lookup, ours and hnswlib's.

    hnswlib's ef is the smallest of a list whose recall is no less than ours.  Both answer all
    queries in one compiled call on one thread, turn by turn, the best of several runs.  Raises
    ConfigError where hnswlib is missing.
    """
    try:
        hnswlib = importlib.import_module("hnswlib")
    except ImportError:
        raise ConfigError(MISSING) from None
    n, count = len(mesh.prints), len(queries)
    alive = mesh.kill(0.0)
    askers = np.full(count, -1, np.int64)
    true = nearest_of(mesh.prints, alive, queries, askers)
    limit = lookup_limits(mesh.config, K, n)
    rng = np.random.default_rng([seed, 31])
    first = first_contacts(mesh, queries, askers, "rings", alive, rng, limit)
    found, told = np.full((count, K), -1, np.int64), np.zeros((count, 4), np.int64)
    asked, inverse = np.zeros(n, np.int64), inverse_lengths(queries)

    def ours() -> Any:
        told[:] = 0
        most, s = mesh.config.reply_contacts, mesh.scratch
        search_all(mesh.net, queries, inverse, askers, first, limit, most, s, found, told, asked)
        return found

    index = hnswlib.Index(space="cosine", dim=mesh.prints.shape[1])
    index.init_index(max_elements=n, M=LINKS, ef_construction=BUILD_EF, random_seed=seed)
    index.set_num_threads(1)
    index.add_items(mesh.prints.astype(np.float32))
    wide = queries.astype(np.float32)

    def theirs() -> Any:
        return index.knn_query(wide, k=K)[0]

    recall = float(np.mean(recalls(mesh.prints, queries, ours(), true)))
    for width in WIDTHS:
        index.set_ef(width)
        other = float(np.mean(recalls(mesh.prints, queries, theirs().astype(np.int64), true)))
        if other >= recall:
            break
    best = {"qsynth": float("inf"), "hnswlib": float("inf")}
    for _ in range(RUNS):
        for name, call in (("qsynth", ours), ("hnswlib", theirs)):
            began = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - began)
    return {
        "nodes": n,
        "data": data,
        "queries": count,
        "recall": round(recall, 4),
        "rpcs_mean": round(float(told[:, 0].mean()), 2),
        "us": round(1e6 * best["qsynth"] / count, 2),
        "hnswlib_recall": round(other, 4),
        "hnswlib_ef": width,
        "hnswlib_us": round(1e6 * best["hnswlib"] / count, 2),
        "faster": round(best["hnswlib"] / best["qsynth"], 2),
    }
