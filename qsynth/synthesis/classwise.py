"""Which classes of a peer mean what they mean here: so that unlike peers teach what is shared."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from qsynth.packet import Statistics, restricted
from qsynth.synthesis.lift import with_scatter
from qsynth.types import Floats

FEATURES = 32  # first features in which class means are compared: the rest is noise at 60 samples
MAX_DISTANCE = 2.0  # of two means of one class, in units of what sampling alone would give
SHRINKAGE = 0.5  # of the pooled covariance towards its diagonal
AGREED = 0.75  # share of common classes that must agree before an unseen one is taken over


def shared_classes(mine: Statistics, theirs: Statistics) -> npt.NDArray[np.bool_]:
    """Return (C,) which classes of a peer are the same thing here.

    A class is, if the peer's mean of it is nearest to the own mean of that very class, whitened
    by the pooled within-class scatter, and no farther than sampling explains.  A class that this
    node has not seen is, if nearly all that both have are.
    """
    d = min(FEATURES, mine.dimensions, theirs.dimensions)
    a, b = mine.prefix(d), theirs.prefix(d)
    here, there = a.counts > 0, b.counts > 0
    common = here & there
    if not common.any():
        return common
    squared = _distances(a, b)
    squared[:, ~here] = np.inf
    nearest = squared.argmin(axis=1) == np.arange(len(common))
    noise = d * (1.0 / np.maximum(a.counts, 1.0) + 1.0 / np.maximum(b.counts, 1.0))
    close = np.diag(squared) <= MAX_DISTANCE**2 * noise
    agreed: npt.NDArray[np.bool_] = common & nearest & close
    if common.sum() >= 2 and agreed.sum() >= AGREED * common.sum():
        agreed = agreed | (there & ~here)
    return agreed


def _distances(a: Statistics, b: Statistics) -> Floats:
    """Return (C, C) squared distances of b's class means (rows) to a's, whitened."""
    freedom = max(float(a.counts.sum() + b.counts.sum()) - len(a.counts), 1.0)
    covariance = (a.scatter + b.scatter) / freedom
    diagonal = np.maximum(np.diag(covariance), 1e-9)
    covariance = (1.0 - SHRINKAGE) * covariance + SHRINKAGE * np.diag(diagonal)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors / np.sqrt(np.maximum(values, 1e-9))
    apart = (b.means()[:, None, :] - a.means()[None, :, :]) @ whiten
    squared: Floats = np.square(apart).sum(axis=2)
    return squared


def class_part(mine: Statistics, packet: Statistics) -> list[Statistics]:
    """Return the classes of a packet that are the same thing here, or nothing."""
    agreed = shared_classes(mine, with_scatter(packet, mine))
    return [restricted(packet, agreed)] if agreed.any() else []
