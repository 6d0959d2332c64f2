"""Fingerprints of a `similarity` config, and how alike two of them are."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from qsynth.errors import ConfigError
from qsynth.schema import load_target
from qsynth.similarity.class_sketch import class_sketch, cosine, quantise
from qsynth.similarity.config import ClassSketch, LabelHistogram, OutputProbe, OwnMetric, SketchMean
from qsynth.types import Fingerprint, Floats, Ints

PROBE_FEATURES = 256


def fingerprint_size(config: Any, classes: int) -> int:
    """Return the length of the fingerprints of a task with this many classes."""
    if isinstance(config, ClassSketch):
        size = classes * config.sketch_d
    elif isinstance(config, SketchMean):
        size = config.sketch_d
    elif isinstance(config, LabelHistogram):
        size = classes
    elif isinstance(config, OutputProbe):
        size = classes * config.probes
    else:
        size = len(_own(config, np.ones(classes), np.ones((classes, PROBE_FEATURES))))
        if size != len(_own(config, np.ones(classes), np.ones((classes, 4)))):
            raise ConfigError(
                f"similarity.target={config.target}: the length of the vector must not depend on "
                "the number of features: packets of one task may have several"
            )
    return min(size, int(config.fingerprint_dim))


def fingerprint(config: Any, counts: Floats, sums: Floats) -> Fingerprint:
    """Return the fingerprint of class counts (C,) and class sums (C, d).

    Every node computes it from the packet alone, so a receiver can check an author's claim.  More
    numbers than `fingerprint_dim` are projected by a seeded matrix.
    Returns (fingerprint_size,) int8, zeros where no class has support.
    """
    if isinstance(config, ClassSketch):
        flat = class_sketch(config, counts, sums)
    elif isinstance(config, SketchMean):
        flat = np.zeros(config.sketch_d)
        d = min(config.sketch_d, sums.shape[1])
        flat[:d] = sums[:, :d].sum(axis=0) / max(float(counts.sum()), 1.0)
    elif isinstance(config, OutputProbe):
        flat = output_probe(config, counts, sums)
    elif isinstance(config, LabelHistogram):
        flat = np.sqrt(counts / max(float(counts.sum()), 1.0))
    else:
        flat = _own(config, counts, sums)
    if len(flat) <= config.fingerprint_dim:
        return quantise(flat)
    rng = np.random.default_rng([len(flat), config.fingerprint_dim])
    mixing = rng.standard_normal((len(flat), config.fingerprint_dim))
    return quantise(flat @ mixing)


def output_probe(config: OutputProbe, counts: Floats, sums: Floats) -> Floats:
    """Return what a nearest-mean classifier of these means answers to seeded probes, centred.

    Probes are Gaussian around the mean of the class means, as wide as these lie apart.
    """
    present, d = counts > 0, min(config.sketch_d, sums.shape[1])
    answers = np.zeros((config.probes, len(counts)))
    if present.sum() < 2:
        return answers.ravel()
    means = sums[present, :d] / counts[present, None]
    means -= means.mean(axis=0)
    spread = max(float(np.sqrt((means**2).mean())), 1e-12)
    draws = np.random.default_rng([config.probes, config.sketch_d])
    probes = spread * draws.standard_normal((config.probes, config.sketch_d))[:, :d]
    apart = ((probes[:, None, :] - means) ** 2).sum(axis=2) / (2.0 * spread**2)
    likely = np.exp(apart.min(axis=1, keepdims=True) - apart)
    answers[:, present] = likely / likely.sum(axis=1, keepdims=True) - 1.0 / present.sum()
    return answers.ravel()


@cache
def _function(target: str) -> Callable[..., Any]:
    found = load_target("similarity.target", target, "package.function")
    if not callable(found):
        raise ConfigError(f"similarity.target={target}: must be a function")
    return found  # type: ignore[no-any-return]


def _own(config: OwnMetric, counts: Floats, sums: Floats) -> Floats:
    function = _function(config.target)
    try:
        given = np.asarray(function(counts, sums))
        made = given.astype(np.float64) if given.dtype.kind in "iufb" else np.zeros(0)
    except Exception as error:  # the user's own code
        raise ConfigError(
            f"similarity.target={config.target}: fails ({type(error).__name__}: {error})"
        ) from None
    if made.ndim != 1 or not len(made) or not np.isfinite(made).all():
        raise ConfigError(
            f"similarity.target={config.target}: must give one vector of finite real numbers, "
            f"gave {given.dtype} of shape {given.shape}"
        )
    # Only its direction counts: numbers however large must not overflow when they are squared.
    return made / max(float(np.abs(made).max()), 1.0)


def likeness(config: Any, one: Fingerprint, other: Fingerprint) -> float:
    """Return how alike two nodes are in the classes that both have, in [-1, 1].

    `class_sketch`: the cosine of the class blocks that neither leaves empty; else, and where
    fingerprints are projected, of the whole.  Label skew lowers the cosine of whole fingerprints
    of one situation, and this not.
    """
    if (
        not isinstance(config, ClassSketch)
        or one.shape != other.shape
        or len(one) % config.sketch_d
    ):
        return cosine(one, other)
    a, b = one.reshape(-1, config.sketch_d), other.reshape(-1, config.sketch_d)
    common = a.any(axis=1) & b.any(axis=1)
    return cosine(a[common].ravel(), b[common].ravel())


def split_half(
    config: Any, features: Floats, labels: Ints, classes: int, rng: np.random.Generator
) -> float:
    """Return how alike two random halves of one's own samples are, in [-1, 1].

    features: (n, d).  It tells how noisy one's own fingerprint is: the floor of similarity is
    relative to it.
    """
    halves = [np.zeros(len(labels), bool) for _ in range(2)]
    for c in range(classes):
        mine = rng.permutation(np.flatnonzero(labels == c))
        halves[0][mine[: len(mine) // 2]] = True
        halves[1][mine[len(mine) // 2 :]] = True
    prints = []
    for chosen in halves:
        counts = np.bincount(labels[chosen], minlength=classes).astype(np.float64)
        sums = np.zeros((classes, features.shape[1]))
        np.add.at(sums, labels[chosen], features[chosen].astype(np.float64))
        prints.append(fingerprint(config, counts, sums))
    return cosine(prints[0], prints[1])


def signs(query: Fingerprint) -> Fingerprint:
    """Return a fingerprint that tells the signs alone of another: for strangers."""
    return (np.sign(query.astype(np.int16)) * 64).astype(np.int8)


def whole_from_half(half: float) -> float:
    """Return how alike two wholes are whose halves are so alike; 0 where these are not at all.

    Source: the Spearman-Brown formula.
    """
    return 2.0 * half / (1.0 + half) if half > 0.0 else 0.0
