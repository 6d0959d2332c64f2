"""The rule `ridge`: for tasks of labels and values, by the same additive statistics.

Own joint statistics of (targets, features) and admitted ones become one linear map.  The gate and
the shrinkage go by the two-fold Gaussian likelihood of the node's own targets with their residual
variance at its best: minus half the mean log of it, in nats a target.
Source: Hoerl & Kennard 1970 (ridge); the target of the shrinkage is that of `analytic_head`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np

from qsynth.packet import Statistics, merge
from qsynth.schema import option, setting
from qsynth.synthesis.base import Gated, OwnData, Packets, Synthesis
from qsynth.synthesis.gate import RANKING, Deadline, first_asked, greedy, posterior_shares
from qsynth.synthesis.head import Head, solve_spd
from qsynth.synthesis.lesson import MixedLessonOptions, Pool, make_pool
from qsynth.synthesis.lift import lifted
from qsynth.synthesis.own_evidence import TargetEvidence
from qsynth.types import NodeId

SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
GATE_SHRINKAGE = 0.3
FLOOR = 1e-6  # of a residual variance, in units of the target's own


@option("synthesis.teach")
@dataclass(frozen=True)
class TargetLessonOptions(MixedLessonOptions):
    """How a map to labels or values teaches the node's own network."""


@option("synthesis")
@dataclass(frozen=True)
class Ridge(Gated):
    """For labels and values: merge joint statistics into a linear map, beside the network."""

    name: str = setting("ridge", "the option's name", choices=("ridge",))
    teach: TargetLessonOptions = field(
        default_factory=TargetLessonOptions, metadata={"doc": "teaching the network"}
    )

    needs: ClassVar[str | None] = "analytic"
    classified: ClassVar[bool] = False

    def synthesize(
        self, own: OwnData, packets: Packets, alike: Mapping[NodeId, float]
    ) -> Synthesis:
        """Return the map of own evidence and of the packets that the gate lets in."""
        assert isinstance(own.evidence, TargetEvidence)
        joint = {author: e.joint for author, e in packets.items() if e.joint is not None}
        return synthesize_targets(self, own.evidence, own.d, joint, alike)

    def lesson(
        self,
        own: OwnData,
        synthesis: Synthesis,
        packets: Packets,
        rng: np.random.Generator,
        offset: Callable[[Any], Any] | None = None,
    ) -> Pool | None:
        """Return inputs with the targets of the map."""
        inputs = own.teaching_inputs(self.teach.inputs)
        return make_pool(self.teach, synthesis.head, None, own.encoder, own.task, inputs, None, rng)


def synthesize_targets(
    config: Ridge,
    own: TargetEvidence,
    d: int,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float] | None = None,
) -> Synthesis:
    """Return the map of one's own evidence and of the packets that the gate lets in.

    d: features of it.  packets: joint statistics by author, of as many targets.  alike: how alike
    each author's fingerprint is, as a share of how alike a node of the same data would look.
    """
    view = TargetView.of(own, d)
    chosen, gains = dict(packets), dict[NodeId, float]()
    deadline = Deadline(config.gate_s)
    if config.gate == "greedy":
        reached = partial(reached_by, view)
        ranked = []
        for author in first_asked(packets, alike or {}):
            if not deadline.over(RANKING):
                ranked.append((-reached({author: packets[author]}), author, packets[author]))
        ranked.sort(key=lambda entry: entry[:2])
        chosen, gains = greedy(reached, ranked, alike or {}, len(ranked), deadline)
    head, likelihood, unseen = _tuned(view, chosen)
    prior = np.zeros(own.targets.shape[1])
    left = len(packets) - len(gains) if config.gate == "greedy" and deadline.over() else 0
    return Synthesis(head, tuple(sorted(chosen)), prior, likelihood, unseen, gains, left)


def solve_targets(joint: Statistics, targets: int, shrinkage: float) -> Head:
    """Return the linear map of joint statistics: (d, K) weights and (K,) intercepts."""
    total = float(joint.counts[0])
    d = joint.dimensions - targets
    if total < 2.0:
        return Head(np.zeros((d, targets)), np.zeros(targets))
    covariance = joint.scatter[targets:, targets:] / total
    diagonal = np.maximum(np.diag(covariance), 0.0)
    spread = max(float(diagonal.mean()), 1e-9)
    target = np.diag((diagonal + spread) / 2.0)
    across = joint.scatter[targets:, :targets] / total
    weights = solve_spd(covariance + shrinkage * target, across, spread)
    means = joint.sums[0] / total
    return Head(weights, means[:targets] - means[targets:] @ weights)


@dataclass(frozen=True)
class TargetView:
    """Hold own joint statistics: whole, and without each fold."""

    own: TargetEvidence
    mine: Statistics
    unseen: tuple[Statistics, ...]

    @classmethod
    def of(cls, own: TargetEvidence, d: int) -> TargetView:
        """Return the view of own evidence in its first d features."""
        return cls(own, own.statistics(d), tuple(own.statistics(d, f) for f in own.folds[::-1]))

    def merged(self, mine: Statistics, chosen: Mapping[NodeId, Statistics]) -> Statistics:
        """Return own statistics with these packets: in author order, for the same bits."""
        return merge([mine, *(lifted(chosen[author], mine) for author in sorted(chosen))])

    def likelihood(self, heads: Sequence[Head]) -> float:
        """Return how likely own targets are, each fold by a head that has not seen it."""
        own = self.own
        wrong = np.concatenate(
            [
                own.targets[fold] - head.scores(own.features[fold])
                for fold, head in zip(own.folds, heads, strict=True)
            ]
        )
        return float(-0.5 * np.log(np.maximum(np.square(wrong).mean(axis=0), FLOOR)).mean())


def reached_by(view: TargetView, chosen: Mapping[NodeId, Statistics]) -> float:
    """Return how likely own targets are with these packets merged."""
    return view.likelihood(_fold_heads(view, chosen, GATE_SHRINKAGE))


def _fold_heads(
    view: TargetView, chosen: Mapping[NodeId, Statistics], shrinkage: float
) -> tuple[Head, Head]:
    count = view.own.targets.shape[1]
    one, other = (
        solve_targets(view.merged(part, chosen), count, shrinkage) for part in view.unseen
    )
    return one, other


def _tuned(
    view: TargetView, chosen: Mapping[NodeId, Statistics]
) -> tuple[Head, float, tuple[Head, Head]]:
    """Return the mean head over shrinkages, the likelihood, fold heads.

    Each shrinkage counts by the likelihood of the node's own targets (Hoeting 1999).
    """
    own, merged = view.own, view.merged(view.mine, chosen)
    count = own.targets.shape[1]
    folded = [_fold_heads(view, chosen, shrinkage) for shrinkage in SHRINKAGES]
    reached = [view.likelihood(heads) for heads in folded]
    shares = posterior_shares(reached, len(own.targets))
    head = Head.mean([solve_targets(merged, count, s) for s in SHRINKAGES], shares)
    one, other = (Head.mean([pair[side] for pair in folded], shares) for side in (0, 1))
    return head, max(reached), (one, other)
