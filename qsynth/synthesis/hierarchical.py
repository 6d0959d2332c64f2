"""The rule `hierarchical`: empirical Bayes over sites, for fleets whose sites all differ a bit.

In a space whitened by the pooled within-class scatter, a site's mean of a class lies around that
site's true mean with variance 1/n, and the true means of sites around the fleet's mean with
variance tau^2, another one in each direction.  The directions are those in which the sites' means
differ most; tau^2 and the fleet's means follow from the packets held, by moments.  Own class means
a posteriori then lie between what own samples say and the fleet's mean: near the fleet's where
sites are alike and own samples few, and one's own where sites differ.

What is left to choose (which packets, how much of tau^2, how much shrinkage) is a candidate each,
and counts by the two-fold likelihood of own samples (Hoeting 1999).  The mean of linear heads is a
linear head.  Among the candidates are own evidence alone, and the packets of nodes that routing has
found alike and the classes that mean the same here, merged as `analytic_head` merges them.
Source: James & Stein 1961; Efron & Morris 1975 (empirical Bayes); Ioffe 2006 (a linear discriminant
with random effects).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from qsynth.lazy import Deferred
from qsynth.packet import Statistics
from qsynth.schema import option, setting
from qsynth.synthesis.base import Synthesis
from qsynth.synthesis.classwise import class_part
from qsynth.synthesis.defence import all_capped, distinct
from qsynth.synthesis.fold_view import FoldView, fold_heads, fold_scores, mean_logs
from qsynth.synthesis.gate import (
    ALIKE,
    GATE_MARGIN,
    RANKING,
    Deadline,
    first_asked,
    posterior_shares,
)
from qsynth.synthesis.head import (
    SHRINKAGES,
    TEMPERATURES,
    UNSEEN,
    Head,
    log_prior,
    solve,
    solve_spd,
)
from qsynth.synthesis.head_rule import HeadRule
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.types import Floats, NodeId

linalg = Deferred("scipy.linalg")
# Each constant was chosen on seeds 5 to 7 of WISDM, PACS, heart, Fashion-MNIST and digits.
POOLED_SHRINKAGES = (0.02, 0.1, 0.4)  # of the scatter of all sites: it needs hardly any
SPREADS = (0.5, 2.0)  # times tau^2
WHITENING = 0.1  # shrinkage of the scatter that directions are whitened by
SINGLE = 0.5  # shrinkage of the heads by which single packets are weighed
SOFTNESS = 8.0  # a packet counts by the likelihood to the power 1/8: one fold is no sure judge
EVEN = 0.9  # least weight from which packets count alike
LEAST_WEIGHT = 0.01  # of a packet; below it is left out
LEAST_COUNT = 0.05  # weighted samples of a class below which a packet says nothing of it
LEAST_TAU2 = 1e-3
ROUNDS = 3  # of fleet means and tau^2 in turn
FAR = 3.0  # times the usual squared distance from the median of sites, beyond which trust falls
JITTER = 1e-6  # of the mean variance
COUNTS = 0.1  # weight from which an author is said to count

Weights = Mapping[NodeId, float]
Told = npt.NDArray[np.bool_]


@option("synthesis")
@dataclass(frozen=True)
class Hierarchical(HeadRule):
    """Weigh packets by how far sites differ (empirical Bayes), and average by own evidence."""

    name: str = setting("hierarchical", "the option's name", choices=("hierarchical",))

    def head_of(
        self,
        own: OwnEvidence,
        d: int,
        packets: Mapping[NodeId, Statistics],
        alike: Mapping[NodeId, float] | None = None,
        authors: Mapping[NodeId, int] | None = None,
    ) -> Synthesis:
        """Return the mean head over candidates: of own evidence, and of sets of packets."""
        view = FoldView.of(own, d, self.balanced)
        told = {a: p for a, p in distinct(packets, view.mine).items() if p.counts.any()}
        kept = all_capped(told, view.mine, self.support_cap, authors or {})
        judge, deadline = _Judge(view), Deadline(self.gate_s)
        for shrinkage in SHRINKAGES:
            judge.add([solve(part, shrinkage) for part in judge.parts], {})
        gains: dict[NodeId, float] = {}
        views = [view]
        if any(packet.dimensions < d for packet in kept.values()):
            views.append(replace(view, neutral=True))  # filled in in both ways (`lift`)
        for each in views if kept else []:
            weighed = _weighed(each, kept, alike or {}, deadline)
            gains = gains or weighed
            _consider(judge, each, kept, weighed, alike or {}, deadline)
        return judge.mean(kept, gains)


@dataclass(frozen=True)
class _Candidate:
    """Hold heads of all own samples and of those outside each fold, and what packets count.

    likelihood: of own samples, nats a sample.  bonus: what routing adds to it.
    """

    likelihood: float
    bonus: float
    heads: tuple[Head, ...]
    weights: Weights


@dataclass
class _Judge:
    """Judge heads by own samples that they have not seen."""

    view: FoldView
    candidates: list[_Candidate] = field(default_factory=list)

    @property
    def parts(self) -> tuple[Statistics, ...]:
        """Return own statistics: whole, and without each fold."""
        return (self.view.mine, *self.view.unseen)

    def add(self, heads: Sequence[Head], weights: Weights, bonus: float = 0.0) -> None:
        """Take a candidate, at its best temperature.  heads: of each of `parts`."""
        logs = mean_logs(self.view, fold_scores(self.view, heads[1:]))
        best = int(np.argmax(logs))
        warmed = tuple(head.tempered(TEMPERATURES[best]) for head in heads)
        self.candidates.append(_Candidate(logs[best], bonus, warmed, weights))

    def mean(self, kept: Mapping[NodeId, Statistics], gains: Mapping[NodeId, float]) -> Synthesis:
        """Return the mean over candidates by their likelihood."""
        view, all_ = self.view, self.candidates
        shares = posterior_shares([c.likelihood + c.bonus for c in all_], view.effective)
        head, one, other = (Head.mean([c.heads[side] for c in all_], shares) for side in range(3))
        used = dict.fromkeys(kept, 0.0)
        for share, candidate in zip(shares, all_, strict=True):
            for author, weight in candidate.weights.items():
                used[author] += float(share) * weight
        counting = tuple(sorted(author for author, weight in used.items() if weight > COUNTS))
        counts = np.bincount(view.own.labels, minlength=view.own.classes).astype(np.float64)
        likelihood = max(candidate.likelihood for candidate in all_)
        left = len(kept) - len(gains)
        return Synthesis(
            head, counting, log_prior(counts), likelihood, (one, other), dict(gains), left
        )


def _weighed(
    view: FoldView,
    kept: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
    deadline: Deadline,
) -> dict[NodeId, float]:
    """Return what each packet alone brings to own samples, in nats a sample; the most alike first.

    Packets that there is no time for are left out.
    """

    def reached(unseen: Sequence[Statistics]) -> float:
        return max(mean_logs(view, fold_scores(view, fold_heads(unseen, SINGLE))))

    alone, gains = reached(view.unseen), {}
    for author in first_asked(kept, alike):
        if deadline.over(RANKING):
            break
        with_it = [view.merged(part, {author: kept[author]}) for part in view.unseen]
        gains[author] = reached(with_it) - alone
    return gains


def _consider(
    judge: _Judge,
    view: FoldView,
    kept: Mapping[NodeId, Statistics],
    gains: Mapping[NodeId, float],
    alike: Mapping[NodeId, float],
    deadline: Deadline,
) -> None:
    """Add the candidates of packets.

    Those alike, merged; the classes of each that mean the same here, merged; and sets, by site.
    """
    if not gains:
        return
    near = {
        author: kept[author]
        for author, gain in gains.items()
        if alike.get(author, 0.0) >= ALIKE and gain > -GATE_MARGIN
    }
    # Routing has found them alike, and sixty samples are no surer than the margin.
    _merge(judge, view, [near] * len(judge.parts), GATE_MARGIN)
    if len(near) < len(gains):
        # What agrees with a fold must not be chosen by it, where it is the judge.
        _merge(judge, view, [_agreed(part, kept, gains) for part in judge.parts])
    if deadline.over():
        return
    for weights in _sets(gains, view.effective):
        if deadline.over():
            return
        authors = sorted(weights)
        counts = np.array([weights[author] for author in authors])
        fits = [
            _fitted(part, [view.lifted(kept[author], part) for author in authors], counts)
            for part in judge.parts
        ]
        for which in range(len(SPREADS)):
            for shrinkage in POOLED_SHRINKAGES:
                judge.add([fit.head(which, shrinkage) for fit in fits], weights)


def _agreed(
    mine: Statistics, kept: Mapping[NodeId, Statistics], gains: Mapping[NodeId, float]
) -> dict[NodeId, Statistics]:
    """Return of each packet the classes that mean the same here, by own statistics."""
    parts = {author: class_part(mine, kept[author]) for author in sorted(gains)}
    return {author: part[0] for author, part in parts.items() if part}


def _merge(
    judge: _Judge, view: FoldView, chosen: Sequence[Mapping[NodeId, Statistics]], bonus: float = 0.0
) -> None:
    """Add the candidates of packets that are merged with own statistics as they are.

    chosen: for each of the judge's parts.
    """
    if not chosen[0]:
        return
    pairs = zip(judge.parts, chosen, strict=True)
    merged = [view.merged(part, packets) for part, packets in pairs]
    weights = dict.fromkeys(chosen[0], 1.0)
    for shrinkage in SHRINKAGES:
        judge.add([solve(part, shrinkage) for part in merged], weights, bonus)


def _sets(gains: Mapping[NodeId, float], samples: float) -> list[Weights]:
    """Return sets of weighed packets: all alike; and each by what it alone brings.

    samples: own ones that weigh alike.
    """
    sets: list[Weights] = [dict.fromkeys(gains, 1.0)]
    best = max(gains.values())
    likely = {a: float(np.exp((gain - best) * samples / SOFTNESS)) for a, gain in gains.items()}
    if min(likely.values()) < EVEN:
        sets.append({a: weight for a, weight in likely.items() if weight > LEAST_WEIGHT})
    return sets


@dataclass(frozen=True)
class _Fit:
    """Hold what heads are solved from.

    covariance: (d, d), pooled within classes.  means: (spreads, C, d) own ones a posteriori.
    seen: (C,) whether anybody has samples of a class.
    """

    covariance: Floats
    means: Floats
    seen: Told

    def head(self, which: int, shrinkage: float) -> Head:
        """Return the head of one spread."""
        matrix, means = _shrunk(self.covariance, shrinkage), self.means[which]
        weights = solve_spd(matrix, means.T, float(np.diag(matrix).mean()))
        bias = -0.5 * np.einsum("dc,cd->c", weights, means)
        return Head(weights, np.where(self.seen, bias, UNSEEN))


def _fitted(mine: Statistics, theirs: Sequence[Statistics], weights: Floats) -> _Fit:
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
    return _Fit(covariance, np.stack(a_posteriori) @ turn.T @ lower.T, (counts > 0) | there)


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
