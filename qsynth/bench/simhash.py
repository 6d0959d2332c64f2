"""The strategy `simhash`: contacts stored under hashes of fingerprints, in the exact order."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.bench.hashes import codes, planes
from qsynth.bench.net import Keys, Net
from qsynth.bench.search import Scratch, Wanted, search
from qsynth.dht.config import Rings
from qsynth.dht.join import exact_limits
from qsynth.types import Ints

TABLES, PROBES = 8, 4  # hashes of a fingerprint; hashes looked under in a table
BUCKET = 16  # nodes that one hash should have on average
MIX = np.uint64(0xBF58476D1CE4E5B9)


class Built(Protocol):
    """What the baseline needs of a mesh."""

    prints: npt.NDArray[np.int8]
    keys: Keys
    net: Net
    scratch: Scratch
    config: Rings


class SimHash:
    """Hold L tables of hashes, each in the charge of the node whose id is nearest to the hash."""

    def __init__(self, mesh: Built, alive: Ints) -> None:
        self.mesh, self.alive = mesh, alive
        n, d = mesh.prints.shape
        self.bits = max(1, round(math.log2(max(n / BUCKET, 2))))
        self.planes = planes(TABLES, d, self.bits)
        own = codes(mesh.prints[alive], self.planes, 1)[:, :, 0]
        self.buckets: dict[int, list[int]] = defaultdict(list)
        for table in range(own.shape[1]):
            for row, code in zip(alive.tolist(), own[:, table].tolist(), strict=True):
                self.buckets[code * own.shape[1] + table].append(row)

    def look(
        self,
        queries: npt.NDArray[np.int8],
        found: Ints,
        told: Ints,
        asked: Ints,
        rng: np.random.Generator,
    ) -> None:
        """Look all queries up: every probe is an exact lookup, and its bucket is scored."""
        tables = len(self.planes)
        every = codes(queries, self.planes, PROBES)
        names = every * tables + np.arange(tables)[None, :, None]
        keys = names.reshape(len(queries), -1).astype(np.uint64) * MIX
        starts = rng.choice(self.alive, keys.shape)
        limit = exact_limits(self.mesh.config)
        find_all(
            self.mesh.net,
            keys,
            starts,
            limit,
            self.mesh.config.reply_contacts,
            self.mesh.scratch,
            told,
            asked,
            found,
        )
        for q, query in enumerate(queries):
            rows = sorted({r for name in names[q].ravel().tolist() for r in self.buckets[name]})
            best = _most_alike(query, np.array(rows, np.int64), self.mesh.prints, found.shape[1])
            found[q, : len(best)] = best


def _most_alike(query: Any, rows: Ints, prints: npt.NDArray[np.int8], k: int) -> Ints:
    wide = prints[rows].astype(np.float32)
    scores = wide @ query.astype(np.float32) / np.maximum(np.linalg.norm(wide, axis=1), 1e-9)
    best: Ints = rows[np.argsort(-scores, kind="stable")[:k]]
    return best


@njit(cache=True)
def find_all(
    net: Net,
    keys: Keys,
    starts: Ints,
    limit: Ints,
    most: int,
    s: Scratch,
    told: Ints,
    asked: Ints,
    best: Ints,
) -> None:
    """Look up all keys (q, p) of each query in the exact order; they run side by side.

    best: (q, ...) whose first number becomes the node nearest to the last key.
    """
    for q in range(keys.shape[0]):
        before = s.clock[1]
        for p in range(keys.shape[1]):
            wanted = Wanted(net.prints[0], net.inverse[0], keys[q, p], True, 0)
            count, _, rounds = search(net, wanted, -1, starts[q, p : p + 1], limit, most, s)
            told[q, 0] += count
            told[q, 1] = max(told[q, 1], rounds)
            for i in range(count):
                asked[s.asked[i]] += 1
            best[q, 0] = s.rows[0]
        told[q, 2] = s.clock[1] - before
