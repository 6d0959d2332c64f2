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
from functools import partial

import numpy as np

from qsynth.packet import Statistics, merge, scaled
from qsynth.synthesis.base import Synthesis
from qsynth.synthesis.defence import all_capped, distinct
from qsynth.synthesis.gate import Deadline, each_alone, greedy, posterior_shares
from qsynth.synthesis.head import Head
from qsynth.synthesis.judge import Weights, counting, subset_prior, weighed_sets
from qsynth.synthesis.lift import lifted
from qsynth.synthesis.ridge import FLOOR, SHRINKAGES, TargetView, reached_by, solve_targets
from qsynth.types import Floats, NodeId

AMOUNTS = (0.03, 0.1, 0.3, 1.0)  # of their samples that the packets of a set count as
LEVEL_SHRINKAGE = 0.1  # of the map that levels are told by
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

    def add(
        self, merged: Sequence[Statistics], shrinkage: float, weights: Weights, bonus: float = 0.0
    ) -> None:
        """Take a candidate.  merged: for each of `parts`, own statistics with packets.

        bonus: nats a sample that its prior adds.
        """
        count = self.view.own.targets.shape[1]
        maps = tuple(solve_targets(part, count, shrinkage) for part in merged)
        self.likelihoods.append(self.view.likelihood(maps[1:]) + bonus)
        self.maps.append(maps)
        self.weights.append(weights)

    def mean(self, gains: Mapping[NodeId, float], left: int) -> Synthesis:
        """Return the mean over candidates by their likelihood.  left: packets not asked."""
        own = self.view.own
        shares = posterior_shares(self.likelihoods, len(own.targets))
        head, one, other = (Head.mean([m[side] for m in self.maps], shares) for side in range(3))
        authors = counting(shares.tolist(), self.weights)
        prior = np.zeros(own.targets.shape[1])
        best = max(self.likelihoods)
        return Synthesis(head, authors, prior, best, (one, other), dict(gains), left)


def mean_map(
    view: TargetView,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
    support_cap: float | None,
    gate_s: float | None,
) -> Synthesis:
    """Return the mean map over candidates: of own evidence, and of sets of packets.

    packets: joint statistics by author.  support_cap: times one's own
    samples that a packet counts as at most.  gate_s: CPU seconds that packets may cost.
    """
    judge, deadline, count = _Judge(view), Deadline(gate_s), view.own.targets.shape[1]
    for shrinkage in SHRINKAGES:
        judge.add(judge.parts, shrinkage, {})
    told = {a: p for a, p in distinct(packets, view.mine).items() if p.counts.any()}
    kept = all_capped(told, view.mine, support_cap, {})
    reached = partial(reached_by, view)
    gains = each_alone(reached, kept, alike, deadline)
    if gains:
        ranked = sorted(
            ((-gain, author, kept[author]) for author, gain in gains.items()), key=lambda e: e[:2]
        )
        chosen, _ = greedy(reached, ranked, alike, len(ranked), deadline)
        prior = subset_prior(len(gains), len(chosen)) / len(view.own.targets)
        merged = [merge([p, *(lifted(chosen[a], p) for a in sorted(chosen))]) for p in judge.parts]
        for shrinkage in MERGED_SHRINKAGES if chosen else ():
            judge.add(merged, shrinkage, dict.fromkeys(chosen, 1.0), prior)
    for weights in weighed_sets(gains, len(view.own.targets)) if gains else []:
        if deadline.over():
            break
        for levels in (False, True):
            held = [_together(part, kept, weights, count, levels) for part in judge.parts]
            for amount in AMOUNTS:
                merged = [
                    merge([part, scaled(theirs, amount)])
                    for part, theirs in zip(judge.parts, held, strict=True)
                ]
                counted = {author: weight * amount for author, weight in weights.items()}
                for shrinkage in MERGED_SHRINKAGES:
                    judge.add(merged, shrinkage, counted)
    return judge.mean(gains, len(kept) - len(gains))


def _together(
    mine: Statistics,
    kept: Mapping[NodeId, Statistics],
    weights: Weights,
    targets: int,
    levels: bool,
) -> Statistics:
    """Return the joint statistics of weighed packets, in the order of their authors.

    targets: K.  levels: whether each site has a level of its own: its means then count as what
    one's own are a posteriori.
    """
    parts = [scaled(lifted(kept[author], mine), weights[author]) for author in sorted(weights)]
    if levels and mine.counts[0] > 0:
        level = _level(mine, parts, targets)
        parts = [Statistics(p.counts, p.counts[:, None] * level, p.scatter) for p in parts]
    return merge(parts)


def _level(mine: Statistics, parts: Sequence[Statistics], targets: int) -> Floats:
    """Return (K + d,): own means, the targets' drawn towards the fleet's level.

    A site's level is what its targets' mean lies above the fleet's map at its inputs' mean.  By how
    much sites differ in it follows by moments (Laird & Ware 1982), from packets and own samples.
    """
    every = [mine, *parts]
    counts = np.array([float(part.counts[0]) for part in every])
    total = max(counts.sum(), 1.0)
    within = Statistics(
        np.array([total]),
        np.zeros_like(mine.sums),
        np.sum([part.scatter for part in every], axis=0),
    )
    slopes = solve_targets(within, targets, LEVEL_SHRINKAGE).weights
    across = within.scatter[:targets, targets:]
    spread = np.diag(within.scatter)[:targets] - np.einsum("kd,dk->k", across, slopes)
    noise = np.maximum(spread, FLOOR) / total  # of one sample
    means = np.concatenate([part.means() for part in every])
    above = means[:, :targets] - means[:, targets:] @ slopes  # (sites, K)
    shares = counts[1:] / max(counts[1:].sum(), 1e-12)
    fleet = shares @ above[1:]
    sampling = noise * np.sum(shares / np.maximum(counts[1:], 1e-12))
    tau2 = np.maximum(shares @ np.square(above[1:] - fleet) - sampling, 0.0)
    kept = tau2 / np.maximum(tau2 + noise / counts[0], 1e-12)
    level: Floats = means[0].copy()
    level[:targets] -= (1.0 - kept) * (above[0] - fleet)
    return level
