"""The mean over candidate heads, each by the likelihood of own samples that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qsynth.packet import Statistics
from qsynth.synthesis.base import Synthesis
from qsynth.synthesis.fold_view import FoldView, fold_scores, mean_logs
from qsynth.synthesis.gate import posterior_shares
from qsynth.synthesis.head import TEMPERATURES, Head, log_prior
from qsynth.types import NodeId

# Power of the likelihood that candidates count by: where models are wrong, less than 1 is safer
# (Gruenwald 2012, safe Bayes).  Chosen on seeds 5 to 7.
LEARNED = 0.5
SOFTNESS = 8.0  # a packet counts by the likelihood to the power 1/8: one fold is no sure judge
EVEN = 0.9  # least weight from which packets count alike
LEAST_WEIGHT = 0.01  # of a packet; below it is left out
COUNTS = 0.1  # weight from which an author is said to count

Weights = Mapping[NodeId, float]


@dataclass(frozen=True)
class Candidate:
    """Hold heads of all own samples and of those outside each fold, and what packets count.

    likelihood: of own samples, nats a sample.  bonus: what routing adds to it.
    """

    likelihood: float
    bonus: float
    heads: tuple[Head, ...]
    weights: Weights


@dataclass
class Judge:
    """Judge heads by own samples that they have not seen."""

    view: FoldView
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def parts(self) -> tuple[Statistics, ...]:
        """Return own statistics: whole, and without each fold."""
        return (self.view.mine, *self.view.unseen)

    def add(self, heads: Sequence[Head], weights: Weights, bonus: float = 0.0) -> None:
        """Take a candidate, at its best temperature.  heads: of each of `parts`."""
        logs = mean_logs(self.view, fold_scores(self.view, heads[1:]))
        best = int(np.argmax(logs))
        warmed = tuple(head.tempered(TEMPERATURES[best]) for head in heads)
        self.candidates.append(Candidate(logs[best], bonus, warmed, weights))

    def mean(self, kept: Mapping[NodeId, Statistics], gains: Mapping[NodeId, float]) -> Synthesis:
        """Return the mean over candidates by their likelihood."""
        view, all_ = self.view, self.candidates
        shares = posterior_shares([c.likelihood + c.bonus for c in all_], LEARNED * view.effective)
        head, one, other = (Head.mean([c.heads[side] for c in all_], shares) for side in range(3))
        authors = counting(shares.tolist(), [candidate.weights for candidate in all_])
        counts = np.bincount(view.own.labels, minlength=view.own.classes).astype(np.float64)
        likelihood = max(candidate.likelihood for candidate in all_)
        left = len(kept) - len(gains)
        return Synthesis(
            head, authors, log_prior(counts), likelihood, (one, other), dict(gains), left
        )


def counting(shares: Sequence[float], weights: Sequence[Weights]) -> tuple[NodeId, ...]:
    """Return the authors that count in a mean over candidates, in the order of their ids.

    shares: of the candidates.  weights: what each author counts in each of them.
    """
    used: dict[NodeId, float] = {}
    for share, candidate in zip(shares, weights, strict=True):
        for author, weight in candidate.items():
            used[author] = used.get(author, 0.0) + float(share) * weight
    return tuple(sorted(author for author, weight in used.items() if weight > COUNTS))


def subset_prior(packets: int, chosen: int) -> float:
    """Return the log prior of one subset: all sizes alike, and all subsets of a size.

    A gate goes by the samples that judge it: what it gains by having a choice must not count.
    Source: Rissanen 1978 (description length).
    """
    return -(
        math.log1p(packets)
        + math.lgamma(packets + 1)
        - math.lgamma(chosen + 1)
        - math.lgamma(packets - chosen + 1)
    )


def weighed_sets(gains: Mapping[NodeId, float], samples: float) -> list[Weights]:
    """Return sets of weighed packets: all alike; and each by what it alone brings.

    samples: own ones that weigh alike.
    """
    sets: list[Weights] = [dict.fromkeys(gains, 1.0)]
    best = max(gains.values())
    likely = {a: float(np.exp((gain - best) * samples / SOFTNESS)) for a, gain in gains.items()}
    if min(likely.values()) < EVEN:
        sets.append({a: weight for a, weight in likely.items() if weight > LEAST_WEIGHT})
    return sets
