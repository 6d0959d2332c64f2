"""Class means of sites as random effects: what lies between own samples and the fleet's means.

Source: James & Stein 1961; Efron & Morris 1975 (empirical Bayes); Ioffe 2006 (a linear discriminant
with random effects).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsynth.lazy import Deferred
from qsynth.packet import Statistics
from qsynth.synthesis.head import UNSEEN, Head, solve_spd
from qsynth.types import Floats

linalg = Deferred("scipy.linalg")
# Each constant was chosen on seeds 5 to 7 of WISDM, PACS, heart, Fashion-MNIST and digits.
SPREADS = (0.5, 2.0)  # times tau^2
WHITENING = 0.1  # shrinkage of the scatter that directions are whitened by
LEAST_COUNT = 0.05  # weighted samples of a class below which a packet says nothing of it
LEAST_TAU2 = 1e-3
ROUNDS = 3  # of fleet means and tau^2 in turn
FAR = 3.0  # times the usual squared distance from the median of sites, beyond which trust falls
JITTER = 1e-6  # of the mean variance

Told = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Fit:
    """Hold what heads are solved from.

    covariance: (d, d), pooled within classes.  means: (spreads, C, d) own ones a posteriori.
    seen: (C,) whether anybody has samples of a class.
    """

    covariance: Floats
    means: Floats
    seen: Told

    def head(self, which: int, shrinkage: float) -> Head:
        """Return the head of one spread."""
        matrix = _shrunk(self.covariance, shrinkage)
        # What nobody has told of lies amid all others (`head.solve`).
        middle = self.means[which][self.seen].mean(axis=0)
        means = np.where(self.seen[:, None], self.means[which], middle)
        weights = solve_spd(matrix, means.T, float(np.diag(matrix).mean()))
        bias = -0.5 * np.einsum("dc,cd->c", weights, means)
        return Head(weights, np.where(self.seen, bias, bias + UNSEEN), ~self.seen)


def fitted(mine: Statistics, theirs: Sequence[Statistics], weights: Floats) -> Fit:
    """Return own class means a posteriori.  theirs: K packets of d features.  weights: (K,)."""
    means = np.concatenate([mine.means(), *(packet.means() for packet in theirs)])
    covariance, lower = _pooled(mine, theirs, weights)
    trust = _trust(_whitened(lower, means), mine, theirs)
    if trust.min() < 1.0:
        weights = weights * trust
        covariance, lower = _pooled(mine, theirs, weights)
    d, counts = mine.dimensions, mine.counts
    every = _whitened(lower, means).reshape(1 + len(theirs), len(counts), d)
    own, sites = every[0], every[1:]
    support = np.stack([packet.counts for packet in theirs])  # (K, C)
    told = support * weights[:, None] > LEAST_COUNT
    turn = _directions(sites, support * weights[:, None], told)
    sites, own = sites @ turn, own @ turn
    fleet, tau2, unsure = _fleet(sites, support, weights[:, None] * told, own, counts)
    a_posteriori: list[Floats] = []
    there: Told = np.asarray(told.any(axis=0))
    for spread in SPREADS:
        variance = np.clip(spread * tau2 + unsure, 1e-9, 1e9)
        gain = counts[:, None] * variance / (counts[:, None] * variance + 1.0)  # 0 if not here
        a_posteriori.append(np.where(there[:, None], gain * own + (1.0 - gain) * fleet, own))
    return Fit(covariance, np.stack(a_posteriori) @ turn.T @ lower.T, (counts > 0) | there)


def _pooled(
    mine: Statistics, theirs: Sequence[Statistics], weights: Floats
) -> tuple[Floats, Floats]:
    """Return the covariance within classes, own and weighed, and the root that whitens by it."""
    covariance, freedom = mine.scatter.copy(), _freedom(mine)
    for weight, packet in zip(weights, theirs, strict=True):
        covariance += weight * packet.scatter
        freedom += weight * _freedom(packet)
    covariance /= max(freedom, 1.0)
    lower = np.asarray(np.linalg.cholesky(_shrunk(covariance, WHITENING)), np.float64)
    return covariance, lower


def _whitened(lower: Floats, rows: Floats) -> Floats:
    made: Floats = linalg.solve_triangular(lower, rows.T, lower=True, check_finite=False).T
    return made


def _directions(sites: Floats, support: Floats, told: Told) -> Floats:
    """Return (d, d): an orthogonal basis, along which the class means of sites differ most."""
    total = np.maximum(support.sum(axis=0), 1e-9)
    centre = (support[:, :, None] * sites).sum(axis=0) / total[:, None]
    root = np.sqrt(np.where(told, support / (1.0 + 0.1 * support), 0.0))
    apart = ((sites - centre) * root[:, :, None]).reshape(-1, sites.shape[2])
    basis: Floats = linalg.eigh(apart.T @ apart, check_finite=False, driver="evd")[1]
    return basis


def _fleet(
    sites: Floats, support: Floats, shares: Floats, own: Floats, counts: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return the fleet's class means (C, d), tau^2 (d,), and the variance of those means (C, d).

    sites: (K, C, d) class means.  support: (K, C).  shares: (K, C) what each counts, 0 where a site
    says nothing.  own: (C, d).  counts: (C,) own samples.  By moments, in turns.  Where packets are
    too few to say how sites differ: one tau^2, from what lies between them and the own means.
    """
    noise = 1.0 / np.maximum(support, LEAST_COUNT)
    sayers = shares.sum(axis=0)
    free = np.maximum(sayers - 1.0, 0.0)  # (C,) degrees of freedom of each class
    degrees = float(free.sum())
    # What sampling alone puts into the squares below.
    sampled = float((free * (shares * noise).sum(axis=0) / np.maximum(sayers, 1e-9)).sum())
    both: Told = (counts > 0) & (shares > 0).any(axis=0)
    tau2 = np.ones(sites.shape[2])
    for _ in range(ROUNDS):
        precision = shares[:, :, None] / (tau2 + noise[:, :, None])
        total = np.maximum(precision.sum(axis=0), 1e-9)
        fleet = (precision * sites).sum(axis=0) / total
        if degrees < len(counts):
            excess = np.square(own - fleet) - 1.0 / np.maximum(counts, 1.0)[:, None] - 1.0 / total
            tau2 = np.full_like(tau2, excess[both].mean() if both.any() else 1.0)
        else:
            squares = np.einsum("kc,kcd->d", shares, np.square(sites - fleet))
            tau2 = (squares - sampled) / max(degrees, 1.0)
        tau2 = np.maximum(tau2, LEAST_TAU2)
    return fleet, tau2, 1.0 / total


def _trust(rows: Floats, mine: Statistics, theirs: Sequence[Statistics]) -> Floats:
    """Return (K,) what each site counts: less where it is far from the median of all sites.

    rows: ((1 + K) C, d) whitened class means, own first.  So one forged site cannot widen the
    spread at will, nor turn the directions.
    """
    if len(theirs) < 3:
        return np.ones(len(theirs))
    says = np.stack([part.counts > 0 for part in (mine, *theirs)])
    every = rows.reshape(*says.shape, -1)
    middle = every[0].copy()
    for label in np.flatnonzero(says.any(axis=0)):
        middle[label] = np.median(every[says[:, label], label], axis=0)
    apart = np.square(every[1:] - middle).mean(axis=2)
    far = (apart * says[1:]).sum(axis=1) / np.maximum(says[1:].sum(axis=1), 1)
    # Sites of classes that nobody else has are not far from anybody.
    noise = np.mean([1.0 / max(float(part.counts.sum()), 1.0) for part in theirs]) * says.shape[1]
    usual = max(float(np.median(far)), float(noise))
    trust: Floats = np.minimum(1.0, np.square(FAR * usual / np.maximum(far, 1e-12)))
    return trust


def _freedom(statistics: Statistics) -> float:
    """Return the degrees of freedom of a within-class scatter."""
    return max(float(statistics.counts.sum() - (statistics.counts > 0).sum()), 0.0)


def _shrunk(covariance: Floats, shrinkage: float) -> Floats:
    """Return a covariance, shrunk to its diagonal and the mean of that; positive definite."""
    diagonal = np.maximum(np.diag(covariance), 1e-9)
    spread = float(diagonal.mean())
    shrunk: Floats = (1.0 - shrinkage) * covariance
    shrunk[np.diag_indices(len(shrunk))] += shrinkage * (diagonal + spread) / 2.0 + JITTER * spread
    return shrunk
