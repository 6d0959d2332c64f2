"""Sufficient statistics of a linear-Gaussian classifier: they add, and can be taken out again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsynth.errors import ShapeError
from qsynth.types import Floats, Floats32, Ints


@dataclass(frozen=True)
class Statistics:
    """Hold what C class Gaussians with one shared covariance need.

    counts: (C,) samples.  sums: (C, d) of features.  scatter: (d, d), the sum over all samples
    of the outer product of their deviation from their own class mean.
    """

    counts: Floats
    sums: Floats
    scatter: Floats

    @property
    def dimensions(self) -> int:
        """Return d."""
        return int(self.sums.shape[1])

    def prefix(self, d: int) -> Statistics:
        """Return the statistics of the first d features alone; exact."""
        if d == self.dimensions:
            return self
        return Statistics(self.counts, self.sums[:, :d], self.scatter[:d, :d])

    def means(self) -> Floats:
        """Return (C, d) class means; zeros where a class has no sample."""
        return self.sums / at_least(self.counts)[:, None]


def at_least(counts: Floats) -> Floats:
    """Return counts to divide by: 1 where there is no sample.  A capped packet has parts of one."""
    return np.where(counts > 0.0, counts, 1.0)


def class_statistics(
    features: Floats32 | Floats, labels: Ints, classes: int, views: int = 1
) -> Statistics:
    """Return the statistics of (n, d) features with (n,) labels in [0, classes).

    views: how often each sample is among them (as itself and as its mirror image, say); each
    view counts 1 / views, so that the counts are those of the samples.
    """
    values = np.asarray(features, np.float64)
    chosen = np.zeros((len(labels), classes))
    chosen[np.arange(len(labels)), labels] = 1.0
    counts, sums = chosen.sum(axis=0), chosen.T @ values
    means = sums / np.maximum(counts, 1.0)[:, None]
    centred = values - means[labels]
    return Statistics(counts / views, sums / views, centred.T @ centred / views)


def joint_statistics(features: Floats32 | Floats, targets: Floats32 | Floats) -> Statistics:
    """Return the joint statistics of (n, K) targets and (n, d) features: one class, d = K + d."""
    both = np.concatenate([targets, features], axis=1)
    return class_statistics(both, np.zeros(len(both), np.int64), 1)


def restricted(statistics: Statistics, classes: npt.NDArray[np.bool_]) -> Statistics:
    """Return the part of some classes; the scatter, of all classes together, in proportion.

    classes: (C,) bool.
    """
    counts = np.where(classes, statistics.counts, 0.0)
    share = counts.sum() / max(float(statistics.counts.sum()), 1.0)
    sums = np.where(classes[:, None], statistics.sums, 0.0)
    return Statistics(counts, sums, statistics.scatter * share)


def scaled(statistics: Statistics, share: float) -> Statistics:
    """Return statistics that count as a share of their samples."""
    return Statistics(
        statistics.counts * share, statistics.sums * share, statistics.scatter * share
    )


def in_units(statistics: Statistics, location: Floats32, scale: Floats32) -> Statistics:
    """Return the statistics of x = location + scale * features, each (d,)."""
    size = scale.astype(np.float64)
    sums = statistics.counts[:, None] * location.astype(np.float64) + statistics.sums * size
    return Statistics(statistics.counts, sums, statistics.scatter * np.outer(size, size))


def merge(
    parts: Sequence[Statistics], between: Callable[[Statistics], Floats] | None = None
) -> Statistics:
    """Return the statistics of all samples together, as if they had been in one place.

    Parts of different d merge at the smallest.  Summed in the order given: whoever wants the
    same bits gives the parts in the same order.  between: gives `spread_of_means` of a part, for
    who merges a part often.
    Source: exact aggregation as in AFL (analytic federated learning) and Fed3R.
    """
    if not parts:
        raise ShapeError("nothing to merge")
    d = min(part.dimensions for part in parts)
    cut = [part.prefix(d) for part in parts]
    counts = np.sum([part.counts for part in cut], axis=0)
    sums = np.sum([part.sums for part in cut], axis=0)
    scatter = cut[0].scatter.copy()
    for part in cut[1:]:
        scatter += part.scatter
    # Deviations are from each part's own class means: add what lies between those means.
    for part in cut:
        scatter += (between or spread_of_means)(part)
    whole = Statistics(counts, sums, scatter)
    scatter -= spread_of_means(whole)
    return whole


def redrawn(statistics: Statistics, rng: np.random.Generator) -> Statistics:
    """Return the statistics of as many samples, drawn from what these say."""
    freedom = max(float(statistics.counts.sum()), 1.0)
    values, vectors = np.linalg.eigh(statistics.scatter / freedom)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    labels = np.repeat(np.arange(len(statistics.counts)), statistics.counts.astype(np.int64))
    drawn = statistics.means()[labels] + rng.standard_normal((len(labels), len(root))) @ root.T
    return class_statistics(drawn, labels, len(statistics.counts))


def spread_of_means(statistics: Statistics) -> Floats:
    """Return (d, d): the sum over samples of the outer product of their class mean."""
    scaled = statistics.sums / np.sqrt(at_least(statistics.counts))[:, None]
    result: Floats = scaled.T @ scaled
    return result
