"""Maps to labels and values of sites that differ: the twin of `hierarchical` for regression.

A site's map lies around the fleet's: own evidence is drawn towards it by as much as the packets
count, and sites may differ in level alone (random intercepts), or in all (random coefficients).
Which packets, how much they count, which of both and how much shrinkage are a candidate each, and
count by the two-fold likelihood of own targets.
Source: Laird & Ware 1982 (random effects); Hoeting 1999 (model averaging).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qsynth.packet import Statistics, merge
from qsynth.synthesis.base import Synthesis
from qsynth.synthesis.defence import all_capped
from qsynth.synthesis.gate import RANKING, Deadline, first_asked, posterior_shares
from qsynth.synthesis.head import Head
from qsynth.synthesis.judge import LEARNED, Weights, counting
from qsynth.synthesis.lift import lifted
from qsynth.synthesis.ridge import GATE_SHRINKAGE, SHRINKAGES, TargetView, solve_targets
from qsynth.types import NodeId

AMOUNTS = (0.03, 0.1, 0.3, 1.0)  # of their samples that the packets of a set count as
MERGED_SHRINKAGES = (0.01, 0.1, 1.0)


@dataclass
class _Judge:
    """Judge maps by own targets that they have not seen."""

    view: TargetView
    likelihoods: list[float] = field(default_factory=list)
    maps: list[tuple[Head, ...]] = field(default_factory=list)
    weights: list[Weights] = field(default_factory=list)

    @property
    def parts(self) -> tuple[Statistics, ...]:
        """Return own joint statistics: whole, and without each fold."""
        return (self.view.mine, *self.view.unseen)

    def add(self, merged: Sequence[Statistics], shrinkage: float, weights: Weights) -> None:
        """Take a candidate.  merged: for each of `parts`, own statistics with packets."""
        count = self.view.own.targets.shape[1]
        maps = tuple(solve_targets(part, count, shrinkage) for part in merged)
        self.likelihoods.append(self.view.likelihood(maps[1:]))
        self.maps.append(maps)
        self.weights.append(weights)

    def mean(self, gains: Mapping[NodeId, float], left: int) -> Synthesis:
        """Return the mean over candidates by their likelihood.  left: packets not asked."""
        own = self.view.own
        shares = posterior_shares(self.likelihoods, LEARNED * len(own.targets))
        head, one, other = (Head.mean([m[side] for m in self.maps], shares) for side in range(3))
        authors = counting(shares.tolist(), self.weights)
        prior = np.zeros(own.targets.shape[1])
        best = max(self.likelihoods)
        return Synthesis(head, authors, prior, best, (one, other), dict(gains), left)


def mean_map(
    view: TargetView,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
    sets: Sequence[str],
    support_cap: float | None,
    gate_s: float | None,
) -> Synthesis:
    """Return the mean map over candidates: of own evidence, and of sets of packets.

    packets: joint statistics by author.  sets: which of `_weights`.  support_cap: times one's own
    samples that a packet counts as at most.  gate_s: CPU seconds that packets may cost.
    """
    judge, deadline = _Judge(view), Deadline(gate_s)
    for shrinkage in SHRINKAGES:
        judge.add(judge.parts, shrinkage, {})
    told = {author: packet for author, packet in packets.items() if packet.counts.any()}
    kept = all_capped(told, view.mine, support_cap, {})
    gains = _weighed(view, kept, alike, deadline)
    for weights in _weights(gains, len(view.own.targets), sets) if gains else []:
        if deadline.over():
            break
        for levels in (False, True):
            held = [_together(part, kept, weights, levels) for part in judge.parts]
            for amount in AMOUNTS:
                merged = [
                    merge([part, _scaled(theirs, amount)])
                    for part, theirs in zip(judge.parts, held, strict=True)
                ]
                counted = {author: weight * amount for author, weight in weights.items()}
                for shrinkage in MERGED_SHRINKAGES:
                    judge.add(merged, shrinkage, counted)
    return judge.mean(gains, len(packets) - len(gains))


def _weighed(
    view: TargetView,
    kept: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
    deadline: Deadline,
) -> dict[NodeId, float]:
    """Return what each packet alone brings to own targets, in nats; the most alike first."""
    count = view.own.targets.shape[1]

    def reached(parts: Sequence[Statistics]) -> float:
        return view.likelihood([solve_targets(part, count, GATE_SHRINKAGE) for part in parts])

    alone, gains = reached(view.unseen), dict[NodeId, float]()
    for author in first_asked(kept, alike):
        if deadline.over(RANKING):
            break
        with_it = [merge([part, lifted(kept[author], part)]) for part in view.unseen]
        gains[author] = reached(with_it) - alone
    return gains


def _weights(gains: Mapping[NodeId, float], samples: int, sets: Sequence[str]) -> list[Weights]:
    """Return sets of weighed packets: all alike, and each by what it alone brings."""
    best = max(gains.values())
    likely = {a: float(np.exp((gain - best) * samples / 8.0)) for a, gain in gains.items()}
    made = {"all": dict.fromkeys(gains, 1.0), "likely": likely}
    return [made[name] for name in sets]


def _together(
    mine: Statistics, kept: Mapping[NodeId, Statistics], weights: Weights, levels: bool
) -> Statistics:
    """Return the joint statistics of weighed packets, in the order of their authors.

    levels: whether each site has a level of its own: its means then count as one's own do.
    """
    parts = []
    for author in sorted(weights):
        part = _scaled(lifted(kept[author], mine), weights[author])
        if levels and mine.counts[0] > 0:
            level = mine.sums[0] / mine.counts[0]
            part = Statistics(part.counts, part.counts[:, None] * level, part.scatter)
        parts.append(part)
    return merge(parts)


def _scaled(statistics: Statistics, share: float) -> Statistics:
    return Statistics(
        statistics.counts * share, statistics.sums * share, statistics.scatter * share
    )
