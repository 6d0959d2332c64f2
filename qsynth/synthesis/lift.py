"""Packets of fewer features, or of means alone: fill in what they leave open from own data."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from qsynth.packet import Statistics
from qsynth.types import Floats

SHRINKAGE = 0.5  # of the own covariance towards its diagonal: it is estimated from few samples


def with_scatter(packet: Statistics, mine: Statistics) -> Statistics:
    """Return a packet of means alone with the scatter that its samples would have here."""
    if packet.scatter.any() or not packet.counts.any():
        return packet
    d = min(packet.dimensions, mine.dimensions)
    covariance = _covariance(mine.prefix(d)) * float(packet.counts.sum())
    return Statistics(packet.counts, packet.sums[:, :d], covariance)


def lifted(packet: Statistics, mine: Statistics) -> Statistics:
    """Return a packet of fewer features at one's own number of features.

    The features it lacks are the own class means, moved as far as the difference in the features
    it has predicts: sampling noise of a mean has the covariance of the samples, so merging then
    gives the posterior mean of a Gaussian of which a part was observed.  The scatter of the
    lacking features follows from the own covariance in the same way.
    Source: conditional Gaussians, Bishop 2006, section 2.3.1.
    """
    first, d = packet.dimensions, mine.dimensions
    if first >= d:
        return packet.prefix(d)
    covariance = _covariance(mine)
    factor = cho_factor(covariance[:first, :first], check_finite=False)
    gain = cho_solve(factor, covariance[:first, first:], check_finite=False)
    own = mine.means()
    known = (mine.counts > 0)[:, None]
    grand = mine.sums.sum(axis=0) / max(float(mine.counts.sum()), 1.0)
    # A class that this node has not seen starts from the mean of all.
    base = np.where(known, own, grand)
    rest = base[:, first:] + (packet.means() - base[:, :first]) @ gain
    sums = np.concatenate([packet.sums, rest * packet.counts[:, None]], axis=1)
    total = float(packet.counts.sum())
    apart = covariance[first:, first:] - covariance[first:, :first] @ gain
    across = packet.scatter @ gain
    below = gain.T @ across + apart * total
    scatter = np.block([[packet.scatter, across], [across.T, below]])
    return Statistics(packet.counts, sums, scatter)


def _covariance(statistics: Statistics) -> Floats:
    seen = float((statistics.counts > 0).sum())
    freedom = max(float(statistics.counts.sum()) - seen, 1.0)
    covariance = statistics.scatter / freedom
    diagonal = np.maximum(np.diag(covariance), 1e-9)
    spread = (diagonal + diagonal.mean()) / 2.0
    shrunken: Floats = (1.0 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(spread)
    return shrunken
