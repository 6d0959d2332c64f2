"""The Gaussian mechanism on moments and class means, and the statistics that these make likely.

A record's features are clipped to a public norm.  What it adds to (count, sum, second moment), each
with its weight, then has length 1 at most: one draw of noise pays for all three.  Counts, sums and
second moment of classes are released in a second step, in a space that the first one has shown:
centred, and less stretched, so that what a record adds is shorter, and so is the noise.  Both steps
are one Gaussian mechanism whose squared weights add up to 1 (adaptive composition).  All the rest
sees noisy numbers alone, and costs nothing (post-processing).
Source: Dwork et al. 2014 (Analyze Gauss); Balle & Wang 2018 (the noise: `accountant`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.packet import Statistics
from qsynth.privacy.noise import Noise
from qsynth.types import Floats, Floats32, Ints

GRID = 2.0**-10  # of the noise: what is released is rounded to so much of it (Mironov 2012)
LEAST_RISE = 1e-3  # of the noise: a variance that is below it is not believed
SURE = 2.0  # standard deviations of a noisy count, above the least that a class must have
ROOM = 1.1  # of the cut of the second step, over the length that the first one expects


@dataclass(frozen=True)
class Moments:
    """Hold the noisy count, (d,) sum and (d, d) second moment of n records of length 1 at most.

    noise: standard deviations of the count, of a number of the sum, and of one on the diagonal of
    the second moment; beside the diagonal it is less by the root of 2.
    """

    count: float
    sum: Floats
    second: Floats
    noise: tuple[float, float, float]

    def centred(self) -> tuple[Floats, Floats]:
        """Return the mean (d,) and the covariance (d, d), steadied."""
        count = max(self.count, 1.0)
        mean = self.sum / count
        d = len(mean)
        # A product of noisy sums is too large by their noise.
        product = np.outer(self.sum, self.sum) / count - self.noise[1] ** 2 / count * np.eye(d)
        return mean, steadied(self.second - product, self.noise[2]) / count


def clipped(features: Floats32 | Floats, norm: float) -> Floats:
    """Return (n, d) features over a norm, the longer ones clipped to length 1."""
    values = np.asarray(features, np.float64) / norm
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    made: Floats = values / np.maximum(lengths, 1.0)
    return made


def noisy_moments(
    views: Sequence[Floats], multiplier: float, weights: tuple[float, float, float], noise: Noise
) -> Moments:
    """Return the moments of records.

    views: (n, d) of length 1 at most, of the records and of copies of them.  multiplier: of the
    noise, over the sensitivity of 1.  weights: of count, sum and second moment.
    """
    d, many = views[0].shape[1], len(views)
    on_count, on_sum, on_second = (multiplier / weight for weight in weights)
    symmetric = _symmetric(noise, d)
    second = np.zeros((d, d))
    for view in views:
        second += view.T @ view / many
    total = np.sum([view.sum(axis=0) for view in views], axis=0) / many
    counted = _rounded(np.array([float(len(views[0]))]), noise.normal(1), on_count)
    return Moments(
        float(counted[0]),
        _rounded(total, noise.normal(d), on_sum),
        _rounded(second, symmetric, on_second),
        (on_count, on_sum, on_second),
    )


@dataclass(frozen=True)
class Space:
    """Hold where classes are released: less the mean, half way to white.

    mean: (d,).  to, back: (d, d).  norm: records that are longer there are clipped.
    """

    mean: Floats
    to: Floats
    back: Floats
    norm: float

    @classmethod
    def of(cls, mean: Floats, covariance: Floats) -> Space:
        """Return the space that noisy moments show."""
        values, vectors = np.linalg.eigh(covariance)
        values = np.maximum(values, 1e-12)
        # Half way to white: wide directions weigh less, and none is blown up to its noise.
        to, back = (vectors * values**-0.25) @ vectors.T, (vectors * values**0.25) @ vectors.T
        return cls(mean, to, back, ROOM * float(np.sqrt(np.sqrt(values).sum())))


@dataclass(frozen=True)
class ClassMoments:
    """Hold what both steps say of classes.

    counts: (C,) noisy.  sums: (C, d) noisy, of records less `mean`.  covariance: (d, d) of all
    records.  on_count: standard deviation of a count.  on_sum: (d, d) covariance of the noise of a
    sum.
    """

    counts: Floats
    sums: Floats
    mean: Floats
    covariance: Floats
    on_count: float
    on_sum: Floats

    @classmethod
    def of(
        cls,
        moments: Moments,
        space: Space,
        released: tuple[Floats, Floats, Floats],
        multiplier: float,
        weights: tuple[float, float, float],
    ) -> ClassMoments:
        """Return what counts, sums and a second moment say that were released in a space.

        moments: of the same records, from the first step.  multiplier: of the noise in `released`.
        """
        counts, sums, second = released
        on_count, on_sum, on_second = (multiplier / weight for weight in weights)
        mean, unit = moments.centred()[0], space.norm * space.back
        apart = mean - space.mean
        covariance = unit @ steadied(second, on_second) @ unit / max(moments.count, 1.0)
        return cls(
            counts,
            sums @ unit - np.outer(counts, apart),
            mean,
            covariance - np.outer(apart, apart),
            on_count,
            on_sum**2 * unit @ unit,
        )


def noisy_classes(
    views: Sequence[Floats],
    labels: Ints,
    classes: int,
    space: Space,
    multiplier: float,
    weights: tuple[float, float, float],
    noise: Noise,
) -> tuple[Floats, Floats, Floats]:
    """Return the (C,) counts and (C, d) sums of classes, and the (d, d) second moment of all.

    In a space where records are short.  weights: of counts, sums and second moment.
    """
    counts, many = np.bincount(labels, minlength=classes).astype(np.float64), len(views)
    d = len(space.mean)
    sums, second = np.zeros((classes, d)), np.zeros((d, d))
    for view in views:
        short = clipped((view - space.mean) @ space.to, space.norm)
        np.add.at(sums, labels, short / many)
        second += short.T @ short / many
    on_count, on_sum, on_second = (multiplier / weight for weight in weights)
    return (
        _rounded(counts, noise.normal(classes), on_count),
        _rounded(sums, noise.normal(*sums.shape), on_sum),
        _rounded(second, _symmetric(noise, d), on_second),
    )


def _symmetric(noise: Noise, d: int) -> Floats:
    """Return (d, d) noise of a symmetric matrix.

    Numbers beside the diagonal stand there twice: each half of the pair weighs root 2.
    """
    square = noise.normal(d, d)
    upper: Floats = np.triu(square, 1) / np.sqrt(2.0)
    return upper + upper.T + np.diag(np.diag(square))


def _rounded(values: Floats, noise: Floats, scale: float) -> Floats:
    """Return values with noise, on a grid: the last bits of a sum could tell of what it is."""
    step = GRID * scale
    made: Floats = np.rint((values + scale * noise) / step) * step
    return made


def likely_classes(told: ClassMoments, least: float) -> Statistics:
    """Return class statistics that noisy ones make likely.

    least: noisy samples that a class must have; of others nothing is said.  A mean's covariance is
    that of its samples and of its noise: the scatter says both, for a class of mean size, and a
    smaller class counts less.  So who merges packets weighs them rightly, and need not know of it.
    """
    mean, covariance = told.mean, told.covariance
    # Of many classes of nobody some have a noisy count that is not small.
    known = told.counts >= max(least, 1.0) + SURE * told.on_count
    if not known.any():
        return Statistics(np.zeros(len(known)), np.zeros_like(told.sums), np.zeros_like(covariance))
    counts = np.where(known, told.counts, 0.0)
    inverse = np.where(known, 1.0 / np.where(known, counts, 1.0), 0.0)
    means = told.sums * inverse[:, None]  # less the mean of all
    total = float(counts.sum())
    between = (means.T * counts) @ means - told.on_sum * float(inverse.sum())
    within = positive(covariance - between / total)
    # Of a mean: (d, d) for the noise of the sum; the noise of the count makes it longer or shorter.
    rough = np.square(means).sum(axis=1) * (told.on_count * inverse) ** 2
    lost = np.trace(told.on_sum) * inverse**2 + rough
    typical = total / int(known.sum())
    widened = within + told.on_sum / typical
    # Samples that would make the mean as sure as it is, with the spread that the scatter says.
    effective = np.rint(
        counts * np.minimum(np.trace(widened) / (np.trace(within) + counts * lost), 1.0)
    )
    centred = np.where(effective[:, None] > 0, means + mean, 0.0)
    # No record is longer than 1: neither is a mean of them, nor do they spread more.
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1.0)
    widened /= max(float(np.linalg.eigvalsh(widened)[-1]), 1.0)
    return Statistics(effective, centred * effective[:, None], widened * float(effective.sum()))


def likely_joint(moments: Moments, least: float, ridge: int) -> Statistics:
    """Return the statistics of one class that noisy moments make likely.

    ridge: the number of the first feature: beyond it the noise of the second moment is added to
    the diagonal, so that no direction weighs more than it is known.
    """
    mean, covariance = moments.centred()
    d = len(mean)
    if moments.count < max(least, 1.0):
        return Statistics(np.zeros(1), np.zeros((1, d)), np.zeros((d, d)))
    count = float(np.rint(moments.count))
    scatter = covariance * count
    scatter[np.arange(ridge, d), np.arange(ridge, d)] += moments.noise[2] * np.sqrt(d / 2.0)
    return Statistics(np.array([count]), mean[None] * count, scatter)


def steadied(scatter: Floats, noise: float) -> Floats:
    """Return a noisy scatter: directions that stand out of the noise, and one variance for others.

    noise: standard deviation of a number on the diagonal.  Source: Benaych-Georges & Nadakuditi
    2011, section 3.1 (a matrix of low rank and a Gaussian one that is symmetric).
    """
    d = len(scatter)
    values, vectors = np.linalg.eigh(scatter)
    level = noise**2 * d / 2.0  # the variance of a number beside the diagonal, times d
    apart = values - np.median(values)  # from which the noise spreads to both sides alike
    far = np.abs(apart)
    seen = far > 2.0 * np.sqrt(level)
    true = (far + np.sqrt(np.maximum(far**2 - 4.0 * level, 0.0))) / 2.0
    sure = np.where(seen, 1.0 - level / np.maximum(true, 1e-12) ** 2, 0.0)
    out = np.sign(apart) * sure * true
    # The sum of all variances is hardly noisy: what is not seen to stand out has its rest, evenly.
    rest = (float(np.trace(scatter)) - float(np.where(seen, np.sign(apart) * true, 0.0).sum())) / d
    kept = np.maximum(rest + out, max(rest / 100.0, noise * LEAST_RISE))
    made: Floats = (vectors * kept) @ vectors.T
    return made


def positive(covariance: Floats) -> Floats:
    """Return the nearest matrix whose directions all have a variance, a hundredth of the mean."""
    values, vectors = np.linalg.eigh(covariance)
    least = max(float(values.mean()), 1e-12) / 100.0
    made: Floats = (vectors * np.maximum(values, least)) @ vectors.T
    return made
