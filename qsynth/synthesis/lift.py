"""Packets of fewer features, or of means alone: fill in what they leave open from own data."""

from __future__ import annotations

import numpy as np

from qsynth.lazy import Deferred
from qsynth.packet import Statistics
from qsynth.types import Floats

linalg = Deferred("scipy.linalg")
SHRINKAGE = 0.5  # of the own covariance towards its diagonal: it is estimated from few samples
# Of that of half of them, which judge a packet by the other half: variances alone.  Measured by
# `qsynth compare +recipe=fmnist_tiny arms=[head] seeds=[0,1,2,3,4]`, with this constant changed:
# 73.1 at .5, 73.3 at .7, 73.4 at .9, 73.5 % here.
FOLD_SHRINKAGE = 1.0


def with_scatter(packet: Statistics, mine: Statistics, shrinkage: float = SHRINKAGE) -> Statistics:
    """Return a packet of means alone with the scatter that its samples would have here.

    shrinkage: of the own covariance towards its diagonal, 0 to 1.
    """
    if packet.scatter.any() or not packet.counts.any():
        return packet
    d = min(packet.dimensions, mine.dimensions)
    covariance = _covariance(mine.prefix(d), shrinkage) * float(packet.counts.sum())
    return Statistics(packet.counts, packet.sums[:, :d], covariance)


def lifted(packet: Statistics, mine: Statistics, neutral: bool = False) -> Statistics:
    """Return a packet of fewer features at one's own number of features.

    The features it lacks follow from those it has by the own within-class covariance: sampling
    noise of a class mean has the covariance of the samples.  They start from the own mean of all
    classes, so that what one's own class means say beyond that counts by one's own share of the
    samples: right where few samples have told little of those features.  neutral: from the own
    class means, so that the packet says nothing of them: right where they tell much.
    Measured against cutting all to the fewest features (Fashion-MNIST, 60 samples, packets of
    40, 64 and 128 features): +1.3, +.1 and +.3 points.
    Source: conditional Gaussians, Bishop 2006, section 2.3.1.
    """
    first, d = packet.dimensions, mine.dimensions
    if first >= d:
        return packet.prefix(d)
    covariance = _covariance(mine)
    factor = linalg.cho_factor(covariance[:first, :first], check_finite=False)
    gain = linalg.cho_solve(factor, covariance[:first, first:], check_finite=False)
    grand = mine.sums.sum(axis=0) / max(float(mine.counts.sum()), 1.0)
    base = np.where((mine.counts > 0)[:, None], mine.means(), grand) if neutral else grand
    base = np.broadcast_to(base, (len(packet.counts), d))
    rest = base[:, first:] + (packet.means() - base[:, :first]) @ gain
    sums = np.concatenate([packet.sums, rest * packet.counts[:, None]], axis=1)
    total = float(packet.counts.sum())
    apart = covariance[first:, first:] - covariance[first:, :first] @ gain
    across = packet.scatter @ gain
    below = gain.T @ across + apart * total
    scatter = np.block([[packet.scatter, across], [across.T, below]])
    return Statistics(packet.counts, sums, scatter)


def _covariance(statistics: Statistics, shrinkage: float = SHRINKAGE) -> Floats:
    seen = float((statistics.counts > 0).sum())
    freedom = max(float(statistics.counts.sum()) - seen, 1.0)
    covariance = statistics.scatter / freedom
    diagonal = np.maximum(np.diag(covariance), 1e-9)
    spread = (diagonal + diagonal.mean()) / 2.0
    shrunken: Floats = (1.0 - shrinkage) * covariance + shrinkage * np.diag(spread)
    return shrunken
