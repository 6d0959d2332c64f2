"""Fingerprints to route by: made in clusters, uniform, of real data, or from a file."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from qsynth.config.run import RunConfig
from qsynth.data import load_data
from qsynth.encoder import make_encoder
from qsynth.encoder.projection import cache_folder
from qsynth.errors import ConfigError, DataError
from qsynth.partition import assign_samples
from qsynth.similarity import fingerprint
from qsynth.similarity.base import SCALE
from qsynth.types import Floats32

Prints = npt.NDArray[np.int8]
DIMENSIONS = 64
CLUSTER = 100  # nodes in a cluster
SPREAD_DIMENSIONS = 8
CLUSTER_SPREAD, NOISE = 0.5, 0.03  # of a centre's own length: within a cluster, and everywhere
SUPER_SHARE = 0.6  # of a centre's variance that it shares with the clusters beside it
CHUNK = 65_536


def quantised(vectors: Floats32) -> Prints:
    """Return (n, d) vectors as fingerprints: 8-bit numbers, each vector's largest being 127."""
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-12)
    made: Prints = np.rint(vectors / largest * SCALE).astype(np.int8)
    return made


def clustered(count: int, nodes: int, seed: int) -> Floats32:
    """Return (count, 64) unit vectors in nodes / 100 clusters, which lie in clusters themselves.

    In each cluster 8 of the dimensions, other ones in each, are spread; small noise in all.
    nodes: by which the number of clusters goes.
    """
    rng = np.random.default_rng([seed, 21])
    clusters = max(nodes // CLUSTER, 1)
    above = max(math.isqrt(clusters), 1)
    tops = rng.standard_normal((above, DIMENSIONS))
    centres = math.sqrt(SUPER_SHARE) * tops[rng.integers(above, size=clusters)]
    centres += math.sqrt(1 - SUPER_SHARE) * rng.standard_normal((clusters, DIMENSIONS))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    shape = (clusters, SPREAD_DIMENSIONS, DIMENSIONS)
    axes = (rng.standard_normal(shape) / math.sqrt(DIMENSIONS)).astype(np.float32)
    member = rng.integers(clusters, size=count)
    made = np.empty((count, DIMENSIONS), np.float32)
    spread = CLUSTER_SPREAD / math.sqrt(SPREAD_DIMENSIONS)
    for begin in range(0, count, CHUNK):
        of = member[begin : begin + CHUNK]
        inside = rng.standard_normal((len(of), SPREAD_DIMENSIONS)).astype(np.float32)
        noise = rng.standard_normal((len(of), DIMENSIONS)) * (NOISE / math.sqrt(DIMENSIONS))
        rows = centres[of] + spread * np.einsum("nk,nkd->nd", inside, axes[of]) + noise
        made[begin : begin + len(of)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return made


def uniform(count: int, seed: int) -> Floats32:
    """Return (count, 64) unit vectors in all directions alike: there is nothing to find."""
    rng = np.random.default_rng([seed, 22])
    made = rng.standard_normal((count, DIMENSIONS)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def of_recipe(config: RunConfig, count: int, seed: int) -> Prints:
    """Return (count, size) fingerprints of nodes as a recipe deals them, kept on disk.

    A data set has samples for some hundred nodes: it is dealt anew, with another seed, until
    there are enough.  Statistics are taken before a packet rounds them to 8 bits.
    Raises DataError where the data are not there.
    """
    said = repr((config.data, config.partition, config.encoder, config.similarity, count, seed))
    path = cache_folder() / "prints" / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.npy"
    try:
        kept: Prints = np.load(path)
        return kept
    except (OSError, ValueError, EOFError):
        pass  # not there, or spoilt: it is made anew
    made = _dealt(config, count, seed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npy")
        np.save(part, made)
        part.replace(path)
    except OSError as error:
        raise DataError(
            f"{path.parent}: cannot be written ({error}); see QSYNTH_CACHE_DIR"
        ) from None
    return made


def _dealt(config: RunConfig, count: int, seed: int) -> Prints:
    data = load_data(config.data, config.task)
    task, labels = data.task, data.train_y
    encoder = make_encoder(config.encoder, task)
    width = config.similarity.sketched() or encoder.dimensions
    turned: dict[int, Floats32] = {}
    each = int(config.partition.samples_per_node)
    at_once = max(len(labels) // (2 * each), 1)
    made: list[Prints] = []
    blocks = 0
    while len(made) < count:
        blocks += 1
        nodes = min(at_once, 2 * (count - len(made)))
        shares = assign_samples(
            config.partition,
            labels,
            task.classes,
            nodes,
            seed + blocks,
            data.train_node,
            task.shape,
        )
        for share in shares:
            turns = share.quarter_turns % 4
            if turns not in turned:
                inputs = share.inputs(data.train_x)
                turned[turns] = np.concatenate(
                    [
                        encoder.encode(inputs[i : i + CHUNK // 16], width)
                        for i in range(0, len(inputs), CHUNK // 16)
                    ]
                )
            held = share.train
            named = share.labels(labels[held])
            # As in a packet: nothing is said of a class with too few samples.
            enough = np.bincount(named, minlength=task.classes) >= config.distill.min_support
            held, named = held[enough[named]], named[enough[named]]
            counts = np.bincount(named, minlength=task.classes).astype(np.float64)
            sums = np.zeros((task.classes, width))
            np.add.at(sums, named, turned[turns][held])
            made.append(fingerprint(config.similarity, counts, sums))
        # A node of one class has nothing to be found by, and looks for nobody.
        made = [print_ for print_ in made if print_.any()]
    order = np.random.default_rng([seed, 23]).permutation(len(made))[:count]
    return np.stack(made)[order]


def from_file(path: Path, count: int) -> Prints:
    """Return the first `count` rows of a .npy of vectors (n, d).  Raises ConfigError."""
    try:
        rows = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"--data {path}: not a .npy of vectors ({error})") from None
    kinds = (np.integer, np.floating)
    if not isinstance(rows, np.ndarray) or not any(np.issubdtype(rows.dtype, k) for k in kinds):
        raise ConfigError(f"--data {path}: needs one array of real numbers (n, d)")
    if rows.ndim != 2 or len(rows) < count or rows.shape[1] < 1:
        raise ConfigError(
            f"--data {path}: needs numbers (n, d) with n >= {count}, has {rows.shape}"
        )
    if rows.dtype == np.int8:
        return np.array(rows[:count])
    wide = np.array(rows[:count], np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True)
    if not np.isfinite(largest).all() or not largest.all():
        raise ConfigError(f"--data {path}: every row must be finite, and not all zero")
    return quantised((wide / largest).astype(np.float32))
