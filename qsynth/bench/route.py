"""Measure lookups in simulated meshes: recall, requests, bytes, tables and load."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from qsynth.bench.build import gossip_all, join_all
from qsynth.bench.bytes import rpc_bytes
from qsynth.bench.net import Keys, Net, empty_net, pack_all
from qsynth.bench.search import Scratch, Wanted, best_of, reply_of, scratch, search
from qsynth.bench.simhash import SimHash, find_all
from qsynth.dht.config import Rings
from qsynth.dht.join import exact_limits, join_limits
from qsynth.dht.lookup import lookup_limits
from qsynth.kernels import cosine_top_many, inverse_lengths
from qsynth.protocol.maintenance import PINGS
from qsynth.types import Floats32, Ints

K = 10
GOSSIPS = 4  # exchanges of every node after all have joined
Prints = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Row:
    """Hold what `qsynth bench route` prints of one mesh, strategy, start and share of the dead.

    recall: of the ten alive nodes most alike, by brute force over all; with strategy exact, the
    share of ids that were found.  busiest_share: of the queries, the share that asked the busiest
    node.  bytes: of requests and answers of a lookup.
    seconds: building and asking.  table_bytes_hour: of keeping the table, at a period a minute.
    """

    nodes: int
    data: str
    strategy: str
    start: str
    dead: float
    queries: int
    recall: float
    rpcs_mean: float
    rpcs_p95: float
    rounds_mean: float
    contacts_mean: float
    bytes_mean: float
    in_degree_median: float
    in_degree_max: int
    busiest_share: float
    join_rpcs_mean: float
    seconds: float
    us_per_query: float
    table_bytes_hour: float

    def json(self) -> dict[str, Any]:
        """Return the row with its numbers rounded to what they tell."""
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(self).items()}


class Mesh:
    """A mesh of simulated nodes that have joined one after the other, and gossiped.

    prints: (N, d) int8.  config: of a real node's table and lookups.
    """

    def __init__(self, prints: Prints, config: Rings, seed: int) -> None:
        began = time.monotonic()
        rng = np.random.default_rng([seed, 24])
        n = len(prints)
        self.prints, self.config = prints, config
        self.keys: Keys = rng.integers(0, 2**64, n, dtype=np.uint64)
        levels = math.ceil(math.log(max(n, 2)) / math.log(2**config.digit_bits)) + 1
        self.net: Net = empty_net(
            prints,
            self.keys,
            levels,
            config.ring_size,
            config.near_size,
            config.bucket_size,
            config.digit_bits,
        )
        self.scratch: Scratch = scratch(n, config.ef_max, config.lookup_rpcs)
        order = np.arange(n)
        through = (rng.random(n) * order).astype(np.int64)
        most = config.reply_contacts
        rpcs = join_all(self.net, order, through, *join_limits(config), most, self.scratch)
        for _ in range(GOSSIPS):
            draws, rings = rng.integers(0, 2**31, (2, n))
            gossip_all(self.net, draws, rings, most, self.scratch)
        self.degree = pack_all(self.net)
        self.contacts_mean = float(self.net.packed_sizes.mean())
        self.join_rpcs = float(rpcs[n // 2 :].mean())
        self.seconds = time.monotonic() - began

    def kill(self, share: float) -> Ints:
        """Let a share of the nodes be dead from now on; return who is alive."""
        n = len(self.prints)
        self.net.dead[:] = False
        dead = np.random.default_rng([n, 25]).permutation(n)[: round(share * n)]
        self.net.dead[dead] = True
        return np.flatnonzero(~self.net.dead)


def measure(mesh: Mesh, queries: Prints, strategy: str, start: str, share: float, data: str) -> Row:
    """Return the row of one strategy.

    queries: (q, d) of nodes that are not in the mesh; a warm start asks from nodes that are in
    it, for their own fingerprints, instead.
    """
    began = time.monotonic()
    alive = mesh.kill(share)
    rng = np.random.default_rng([len(alive), 26])
    count, config = len(queries), mesh.config
    askers = np.full(count, -1, np.int64)
    if start == "warm":
        askers = rng.choice(alive, count, replace=count > len(alive))
        queries = mesh.prints[askers]
    true = nearest_of(mesh.prints, alive, queries, askers)
    warm = start == "warm" and strategy == "rings"
    limit = lookup_limits(config, K, len(mesh.prints), warm)
    found, told = np.full((count, K), -1, np.int64), np.zeros((count, 4), np.int64)
    asked = np.zeros(len(mesh.prints), np.int64)
    inverse = inverse_lengths(queries)
    clock = time.perf_counter()
    if strategy == "exact":
        ids = rng.choice(alive, count)
        true = [[row] for row in ids.tolist()]
        starts = rng.choice(alive, (count, 1)) if start == "cold" else askers[:, None]
        keys, most = mesh.keys[ids][:, None], config.reply_contacts
        limits, scratch = exact_limits(config), mesh.scratch
        find_all(mesh.net, keys, starts, limits, most, scratch, told, asked, found)
    elif strategy == "simhash":
        SimHash(mesh, alive).look(queries, found, told, asked, rng)
    else:
        first = first_contacts(mesh, queries, askers, strategy, alive, rng, limit)
        run = walk_all if strategy == "random_walk" else search_all
        seed_draws(len(alive))
        most, s = config.reply_contacts, mesh.scratch
        run(mesh.net, queries, inverse, askers, first, limit, most, s, found, told, asked)
    spent = time.perf_counter() - clock
    if strategy == "exact":
        hits = [float(f[0] == t[0]) for f, t in zip(found.tolist(), true, strict=True)]
    else:
        hits = recalls(mesh.prints, queries, found, true)
    row = _row(mesh, alive, told, asked, strategy == "full_view")
    return replace(
        row,
        data=data,
        strategy=strategy,
        start=start,
        dead=share,
        recall=float(np.mean(hits)),
        seconds=mesh.seconds + time.monotonic() - began,
        us_per_query=1e6 * spent / count,
    )


def _row(mesh: Mesh, alive: Ints, told: Ints, asked: Ints, full: bool) -> Row:
    """Return what lookups have cost; what was found, and in what time, is not yet in it."""
    request, empty, contact = rpc_bytes(mesh.prints.shape[1])
    contacts = len(mesh.prints) - 1.0 if full else mesh.contacts_mean
    degree = np.full(len(alive), contacts) if full else mesh.degree[alive]
    per_lookup = told[:, 0] * (request + empty) + told[:, 2] * contact
    return Row(
        nodes=len(mesh.prints),
        data="",
        strategy="",
        start="",
        dead=0.0,
        queries=len(told),
        recall=0.0,
        rpcs_mean=float(told[:, 0].mean()),
        rpcs_p95=float(np.percentile(told[:, 0], 95)),
        rounds_mean=float(told[:, 1].mean()),
        contacts_mean=contacts,
        bytes_mean=float(per_lookup.mean()),
        in_degree_median=float(np.median(degree)),
        in_degree_max=int(degree.max()),
        busiest_share=float(asked.max()) / len(told),
        join_rpcs_mean=1.0 if full else mesh.join_rpcs,
        seconds=0.0,
        us_per_query=0.0,
        table_bytes_hour=60.0 * upkeep_bytes(mesh, full),
    )


def upkeep_bytes(mesh: Mesh, full: bool) -> float:
    """Return the bytes a period that keep a table current.

    Everybody's news to everybody, where everyone is known; else one exchange of gossip begun and
    one answered, one lookup of one's own fingerprint from a warm start (ef requests), and asking
    those long silent whether they are there.
    """
    request, empty, contact = rpc_bytes(mesh.prints.shape[1])
    if full:
        return contact * (len(mesh.prints) - 1.0)
    answer = empty + contact * mesh.config.reply_contacts
    pings = PINGS[0] * (request + empty)
    return 2 * (answer + answer) + mesh.config.ef * (request + answer) + pings


def recalls(prints: Prints, queries: Prints, found: Ints, true: list[list[int]]) -> list[float]:
    """Return the share of each answer that is no less alike than the last of the true ones.

    found: (q, k) rows, -1 where there is none.  Of equal fingerprints any is right.
    """
    made = []
    for query, rows, best in zip(queries, found.tolist(), true, strict=True):
        given = [row for row in dict.fromkeys(rows) if row >= 0]
        both = prints[best + given].astype(np.float64)
        scores = both @ query.astype(np.float64) / np.maximum(np.linalg.norm(both, axis=1), 1e-9)
        least = scores[: len(best)].min() - 1e-12
        made.append(min(1.0, float((scores[len(best) :] >= least).sum()) / len(best)))
    return made


def nearest_of(prints: Prints, alive: Ints, queries: Prints, askers: Ints) -> list[list[int]]:
    """Return the ten alive nodes most alike to each query, its asker aside, by brute force."""
    pool = prints if len(alive) == len(prints) else prints[alive]
    inverse = inverse_lengths(pool)
    found, _ = cosine_top_many(queries, pool, K + 1, inverse)
    return [
        [row for row in alive[rows].tolist() if row != asker][:K]
        for rows, asker in zip(found, askers.tolist(), strict=True)
    ]


def first_contacts(
    mesh: Mesh,
    queries: Prints,
    askers: Ints,
    strategy: str,
    alive: Ints,
    rng: np.random.Generator,
    limit: Ints,
) -> Ints:
    """Return (q, s) contacts to begin with, -1 where there are fewer."""
    if strategy == "full_view":
        inverse = inverse_lengths(mesh.prints)
        return cosine_top_many(queries, mesh.prints, int(limit[2]), inverse)[0]
    if askers[0] < 0:
        return rng.choice(alive, (len(queries), 1))
    width = int(limit[1])
    rows = np.full((len(queries), width), -1, np.int64)
    own_tables(mesh.net, askers, width, mesh.scratch, rows)
    return rows


@njit(cache=True)
def own_tables(net: Net, askers: Ints, width: int, s: Scratch, rows: Ints) -> None:
    """Write whom each asker's own table holds of those most alike to itself."""
    for q in range(len(askers)):
        me = askers[q]
        wanted = Wanted(net.prints[me], net.inverse[me], net.keys[me], False, 0)
        s.clock[0] += 1
        size = reply_of(net, me, wanted, me, width, s, s.clock[0])
        rows[q, :size] = s.reply[:size]


@njit(cache=True)
def search_all(
    net: Net,
    queries: Prints,
    inverse: Floats32,
    askers: Ints,
    starts: Ints,
    limit: Ints,
    most: int,
    s: Scratch,
    found: Ints,
    told: Ints,
    asked: Ints,
) -> None:
    """Look all queries up.  told: (q, 4): requests, rounds, contacts told, contacts known."""
    for q in range(len(queries)):
        wanted = Wanted(queries[q], inverse[q], np.uint64(0), False, 0)
        first = starts[q][starts[q] >= 0]
        before = s.clock[1]
        told[q, 0], told[q, 3], told[q, 1] = search(net, wanted, askers[q], first, limit, most, s)
        told[q, 2] = s.clock[1] - before
        best = best_of(s, found.shape[1])
        found[q, : len(best)] = best
        for i in range(told[q, 0]):
            asked[s.asked[i]] += 1


@njit(cache=True)
def seed_draws(seed: int) -> None:
    """Seed what compiled code draws: numba's generator is not NumPy's."""
    np.random.seed(seed)


@njit(cache=True)
def walk_all(
    net: Net,
    queries: Prints,
    inverse: Floats32,
    askers: Ints,
    starts: Ints,
    limit: Ints,
    most: int,
    s: Scratch,
    found: Ints,
    told: Ints,
    asked: Ints,
) -> None:
    """Walk at random, a contact of the last one asked each time, and keep the best of all met."""
    steps = 3 * limit[1]
    for q in range(len(queries)):
        wanted = Wanted(queries[q], inverse[q], np.uint64(0), False, 0)
        s.clock[0] += 1
        stamp, before = s.clock[0], s.clock[1]
        here, size = starts[q, 0], 0
        for step in range(steps):
            asked[here] += 1
            told[q, 0] += 1
            count = 0
            if not net.dead[here]:
                count = reply_of(net, here, wanted, askers[q], most, s, stamp)
                s.clock[1] += count
            for i in range(count):
                size = _keep(found[q], size, s.reply[i], s.scores, net.dead)
            if count == 0:
                here = starts[q, step % starts.shape[1]]
            else:
                here = net.packed[here, np.random.randint(net.packed_sizes[here])]
        told[q, 1], told[q, 2] = steps, s.clock[1] - before


@njit(cache=True)
def _keep(best: Ints, size: int, row: int, scores: Any, dead: Any) -> int:
    if dead[row]:
        return size
    for i in range(size):
        if best[i] == row:
            return size
    at = min(size, best.shape[0])
    if at == best.shape[0]:
        if scores[row] <= scores[best[at - 1]]:
            return size
        at -= 1
    while at > 0 and scores[row] > scores[best[at - 1]]:
        best[at] = best[at - 1]
        at -= 1
    best[at] = row
    return min(size + 1, int(best.shape[0]))


def rows_of(
    mesh: Mesh,
    queries: Prints,
    strategies: list[str],
    starts: list[str],
    dead: list[float],
    data: str,
) -> Iterator[Row]:
    """Yield a row for each strategy, start and share of dead nodes."""
    for strategy in strategies:
        for start in starts:
            for share in dead:
                yield measure(mesh, queries, strategy, start, share, data)
