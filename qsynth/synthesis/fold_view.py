"""Own evidence as judge: statistics without each of two folds, and how likely a head makes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qsynth.packet import Statistics, merge, spread_of_means
from qsynth.synthesis.head import TEMPERATURES, Head, log_prior, sample_weights, solve
from qsynth.synthesis.lift import FOLD_SHRINKAGE, SHRINKAGE, lifted, with_scatter
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.types import Floats, NodeId

AT_ONCE = 2**16  # numbers of a computation over several temperatures: they stay in a cache


@dataclass(frozen=True)
class FoldView:
    """Own evidence at d features: whole, and without each fold.

    prior: (C,) log label shares that likelihoods are meant under.  weights: (n,) of own samples in
    them, adding up to 1.  features: (n_fold, d) of each fold.  neutral: how packets of fewer
    features are filled in (see `lifted`).  known, spreads: what has been made of each packet, which
    the gate asks for often.
    """

    own: OwnEvidence
    mine: Statistics
    unseen: tuple[Statistics, Statistics]
    prior: Floats
    weights: Floats
    features: tuple[Floats, Floats]
    neutral: bool = False
    known: dict[tuple[int, int, bool], tuple[Statistics, Statistics]] = field(default_factory=dict)
    spreads: dict[int, tuple[Statistics, Floats]] = field(default_factory=dict)

    @property
    def effective(self) -> float:
        """Return how many samples weigh alike (Kish 1965): where classes do, the rare are most."""
        return 1.0 / max(float((self.weights**2).sum()), 1e-9)

    @classmethod
    def of(cls, own: OwnEvidence, d: int, balanced: bool = False) -> FoldView:
        """Gather the statistics of all samples and of those outside each fold."""
        # Two folds: what has not seen one is the other.
        one, other = own.statistics(d, own.folds[1]), own.statistics(d, own.folds[0])
        counts = np.bincount(own.labels, minlength=own.classes).astype(np.float64)
        prior = np.zeros(own.classes) if balanced else log_prior(counts)
        weights = sample_weights(own.labels, balanced)
        first, second = (own.features[fold][:, :d].astype(np.float64) for fold in own.folds)
        return cls(own, own.statistics(d), (one, other), prior, weights, (first, second))

    def merged(self, mine: Statistics, chosen: Mapping[NodeId, Statistics]) -> Statistics:
        """Return own statistics with these packets: in author order, for the same bits."""
        parts = [self.lifted(chosen[author], mine) for author in sorted(chosen)]
        return merge([mine, *parts], self.spread)

    def lifted(self, packet: Statistics, mine: Statistics) -> Statistics:
        """Return a packet at d features, filled in from own statistics: whole, or of one fold."""
        key = id(packet), id(mine), self.neutral
        if key not in self.known:
            # The packet is kept with it, so that no other gets its id.
            # Filled in from `mine` alone: a fold that had a part in it would judge itself.
            shrinkage = SHRINKAGE if mine is self.mine else FOLD_SHRINKAGE
            filled = with_scatter(packet, mine, shrinkage)
            self.known[key] = packet, lifted(filled, mine, self.neutral)
        return self.known[key][1]

    def spread(self, part: Statistics) -> Floats:
        """Return `spread_of_means` of a part."""
        if id(part) not in self.spreads:
            self.spreads[id(part)] = part, spread_of_means(part)
        return self.spreads[id(part)][1]


def fold_heads(unseen: Sequence[Statistics], shrinkage: float) -> tuple[Head, Head]:
    """Return for each fold the head of all that is not in it."""
    one, other = (solve(statistics, shrinkage) for statistics in unseen)
    return one, other


def fold_scores(view: FoldView, heads: Sequence[Head]) -> list[Floats]:
    """Return each fold's (n_fold, C) scores by a head that has not seen the fold."""
    pairs = zip(view.features, heads, strict=True)
    return [head.scores(features) for features, head in pairs]


def mean_logs(view: FoldView, scores: list[Floats]) -> list[float]:
    """Return the mean log-likelihood of own samples by each fold's scores, at each temperature."""
    own, totals = view.own, [0.0] * len(TEMPERATURES)
    temperatures = np.array(TEMPERATURES)[:, None, None]
    for fold, score in zip(own.folds, scores, strict=True):
        rows, labels = np.arange(len(fold)), own.labels[fold]
        many = max(1, AT_ONCE // max(score.size, 1))
        for first in range(0, len(totals) if len(fold) else 0, many):
            logits = score * temperatures[first : first + many] + view.prior
            logits -= logits.max(axis=2, keepdims=True)
            logs = logits[:, rows, labels] - np.log(np.exp(logits).sum(axis=2))
            for number, each in enumerate(logs, first):
                totals[number] += float(each @ view.weights[fold])
    return totals
