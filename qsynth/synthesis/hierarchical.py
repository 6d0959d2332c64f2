"""The rule `hierarchical`: empirical Bayes over sites, for fleets whose sites all differ a bit.

In a space whitened by the pooled within-class scatter, a site's mean of a class lies around that
site's true mean with variance 1/n, and the true means of sites around the fleet's mean with
variance tau^2, another one in each direction.  The directions are those in which the sites' means
differ most; tau^2 and the fleet's means follow from the packets held, by moments.  Own class means
a posteriori then lie between what own samples say and the fleet's mean: near the fleet's where
sites are alike and own samples few, and one's own where sites differ.

What is left to choose (which packets, how much of tau^2, how much shrinkage) is a candidate each,
and counts by the two-fold likelihood of own samples (Hoeting 1999).  The mean of linear heads is a
linear head.  Among the candidates are own evidence alone, and what `analytic_head` would merge: the
packets of nodes that routing has found alike, the classes that mean the same here, and what its
gate lets in.
Source: James & Stein 1961; Efron & Morris 1975 (empirical Bayes); Ioffe 2006 (a linear discriminant
with random effects).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from qsynth.errors import ConfigError
from qsynth.packet import Statistics
from qsynth.schema import option, setting
from qsynth.synthesis.analytic_head import AnalyticHead, let_in
from qsynth.synthesis.base import OwnData, Packets, Synthesis
from qsynth.synthesis.classwise import class_part
from qsynth.synthesis.defence import all_capped, distinct
from qsynth.synthesis.fold_view import FoldView, fold_heads, fold_scores, mean_logs
from qsynth.synthesis.gate import ALIKE, GATE_MARGIN, Deadline, each_alone
from qsynth.synthesis.head import SHRINKAGES, solve
from qsynth.synthesis.head_rule import HeadRule
from qsynth.synthesis.judge import Judge, subset_prior, weighed_sets
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.synthesis.random_effects import SPREADS, fitted
from qsynth.synthesis.ridge import TargetView
from qsynth.synthesis.target_effects import mean_map
from qsynth.types import NodeId, Task

GATE = AnalyticHead()  # whose gate is one of the candidates
# Each constant was chosen on seeds 5 to 7 of WISDM, PACS, heart, Fashion-MNIST and digits.
POOLED_SHRINKAGES = (0.02, 0.1, 0.4)  # of the scatter of all sites: it needs hardly any
SINGLE = 0.5  # shrinkage of the heads by which single packets are weighed


@option("synthesis")
@dataclass(frozen=True)
class Hierarchical(HeadRule):
    """Weigh packets by how far sites differ (empirical Bayes), and average by own evidence."""

    name: str = setting("hierarchical", "the option's name", choices=("hierarchical",))

    classified: ClassVar[bool | None] = None  # for classes, labels and values

    def check_task(self, task: Task) -> None:
        """Raise ConfigError where a setting is for classes, and the task has none."""
        super().check_task(task)
        wrong = {
            "objective": self.objective != "own",
            "network": self.network != "apart",
            "teach.prior": self.teach.prior != "own",
            "teach.inputs=generated": self.teach.inputs == "generated",
        }
        for key in (key for key, is_set in wrong.items() if is_set and not task.classified):
            raise ConfigError(f"synthesis.{key}: is for classes, the task has {task.kind}")

    def synthesize(
        self, own: OwnData, packets: Packets, alike: Mapping[NodeId, float]
    ) -> Synthesis:
        """Return the head, or the map to labels or values, of own evidence and packets."""
        if isinstance(own.evidence, OwnEvidence):
            return super().synthesize(own, packets, alike)
        joint = {author: e.joint for author, e in packets.items() if e.joint is not None}
        view = TargetView.of(own.evidence, own.d)
        return mean_map(view, joint, alike, self.support_cap, self.gate_s)

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
        judge, deadline = Judge(view), Deadline(self.gate_s)
        for shrinkage in SHRINKAGES:
            judge.add([solve(part, shrinkage) for part in judge.parts], {})
        gains: dict[NodeId, float] = {}
        views = [view]
        if any(packet.dimensions < d for packet in kept.values()):
            views.append(replace(view, neutral=True))  # filled in in both ways (`lift`)
        for each in views if kept else []:
            weighed = each_alone(partial(_likelihood, each), kept, alike or {}, deadline)
            gains = gains or weighed
            _consider(judge, each, kept, weighed, alike or {}, deadline)
        return judge.mean(kept, gains)


def _likelihood(view: FoldView, chosen: Mapping[NodeId, Statistics]) -> float:
    """Return the two-fold likelihood of own samples with these packets, nats a sample."""
    unseen = [view.merged(part, chosen) for part in view.unseen]
    return max(mean_logs(view, fold_scores(view, fold_heads(unseen, SINGLE))))


def _consider(
    judge: Judge,
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
        chosen, _ = let_in(GATE, view, kept, alike, deadline)
        prior = subset_prior(len(gains) - len(near), len(chosen.keys() - near.keys()))
        _merge(judge, view, [chosen] * len(judge.parts), prior / view.effective)
    if deadline.over():
        return
    for weights in weighed_sets(gains, view.effective):
        if deadline.over():
            return
        authors = sorted(weights)
        counts = np.array([weights[author] for author in authors])
        fits = [
            fitted(part, [view.lifted(kept[author], part) for author in authors], counts)
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
    judge: Judge, view: FoldView, chosen: Sequence[Mapping[NodeId, Statistics]], bonus: float = 0.0
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
