"""The rule `analytic_head`: own statistics and admitted packets become one head.

The gate settles what similarity cannot: a packet counts only if the node's own samples become
more likely with it, in two-fold cross-fitting with the fold's own samples taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from qsynth.packet import Statistics, merge, spread_of_means
from qsynth.schema import option, setting
from qsynth.synthesis.base import Synthesis
from qsynth.synthesis.classwise import class_part
from qsynth.synthesis.defence import capped, distinct
from qsynth.synthesis.gate import (
    ALIKE,
    GATE,
    RANKING,
    Deadline,
    first_asked,
    greedy,
    posterior_shares,
)
from qsynth.synthesis.head import SHRINKAGES, TEMPERATURES, Head, log_prior, sample_weights, solve
from qsynth.synthesis.head_rule import HeadRule
from qsynth.synthesis.lift import FOLD_SHRINKAGE, SHRINKAGE, lifted, with_scatter
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.types import Floats, Floats32, NodeId

AT_ONCE = 2**16  # numbers of a computation over several temperatures: they stay in a cache
GATE_SHRINKAGE = 0.5  # one constant to rank and gate by; the final solve tries them all


@option("synthesis")
@dataclass(frozen=True)
class AnalyticHead(HeadRule):
    """Merge statistics into a linear-Gaussian head, and multiply it with the network."""

    gate: str = setting("greedy", GATE, choices=("greedy", "none"))
    name: str = setting("analytic_head", "the option's name", choices=("analytic_head",))
    most: int | None = setting(
        None,
        "authors that count at most, those first with whose packet own samples are likeliest "
        "(packet loss); null: as many as the gate lets in",
        low=1,
    )
    merge: str = setting(
        "auto",
        "what of a packet counts: all classes, or those that mean the same here",
        choices=("whole", "classwise", "auto"),
    )

    def head_of(
        self,
        own: OwnEvidence,
        d: int,
        packets: Mapping[NodeId, Statistics],
        alike: Mapping[NodeId, float] | None = None,
        authors: Mapping[NodeId, int] | None = None,
    ) -> Synthesis:
        """Return the head of one's own evidence and of the packets that the gate lets in."""
        return synthesize(self, own, d, packets, alike, authors)


def synthesize(
    config: AnalyticHead,
    own: OwnEvidence,
    d: int,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float] | None = None,
    authors: Mapping[NodeId, int] | None = None,
) -> Synthesis:
    """Return the head of one's own evidence and of the packets that the gate lets in.

    d: features of the head; packets of fewer features, or of means alone, are filled in.
    packets: statistics by author; one author counts once, and so do copies.  alike: how alike each
    author's fingerprint is, as a share of how alike a node of the same data would look.  authors:
    how many are behind each packet, where it is a sum.
    """
    balanced = config.objective == "balanced"
    view = _View.of(own, d, balanced)
    packets = distinct(packets, view.mine)
    if config.support_cap is not None:
        most = config.support_cap * max(float(view.mine.counts.sum()), 1.0)
        packets = {
            author: capped(packet, most * (authors or {}).get(author, 1))
            for author, packet in packets.items()
        }
    deadline = Deadline(config.gate_s)
    made = [_synthesis(config, view, packets, alike or {}, deadline)]
    if any(packet.dimensions < d for packet in packets.values()) and not deadline.over():
        neutral = replace(view, neutral=True)
        made.append(_synthesis(config, neutral, packets, alike or {}, deadline))
    return max(made, key=lambda synthesis: synthesis.likelihood)


def _synthesis(
    config: AnalyticHead,
    view: _View,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
    deadline: Deadline,
) -> Synthesis:
    offers = _offers(config, view.mine, packets, alike)
    gains: Mapping[NodeId, float] = {}
    if config.gate == "none" and config.most is None:
        chosen = {author: parts[0] for author, parts in offers.items()}
    elif config.gate == "none":
        chosen = {
            author: offer
            for _, author, offer in _ranked(view, offers, alike, deadline)[: config.most]
        }
    else:
        ranked = _ranked(view, offers, alike, deadline)
        chosen, gains = greedy(
            partial(_likelihood, view), ranked, alike, config.most or len(offers), deadline
        )
    head, merged, likelihood, unseen = _tuned(view, chosen)
    prior = log_prior(np.bincount(view.own.labels, minlength=view.own.classes).astype(np.float64))
    left = len(packets) - len(gains) if config.gate == "greedy" and deadline.over() else 0
    return Synthesis(head, tuple(sorted(chosen)), merged, prior, likelihood, unseen, gains, left)


@dataclass(frozen=True)
class _View:
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

    @classmethod
    def of(cls, own: OwnEvidence, d: int, balanced: bool = False) -> _View:
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
        parts = [self._lifted(chosen[author], mine) for author in sorted(chosen)]
        return merge([mine, *parts], self._spread)

    def _lifted(self, packet: Statistics, mine: Statistics) -> Statistics:
        key = id(packet), id(mine), self.neutral
        if key not in self.known:
            # The packet is kept with it, so that no other gets its id.
            # Filled in from `mine` alone: a fold that had a part in it would judge itself.
            shrinkage = SHRINKAGE if mine is self.mine else FOLD_SHRINKAGE
            filled = with_scatter(packet, mine, shrinkage)
            self.known[key] = packet, lifted(filled, mine, self.neutral)
        return self.known[key][1]

    def _spread(self, part: Statistics) -> Floats:
        if id(part) not in self.spreads:
            self.spreads[id(part)] = part, spread_of_means(part)
        return self.spreads[id(part)][1]


def _offers(
    config: AnalyticHead,
    mine: Statistics,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
) -> dict[NodeId, list[Statistics]]:
    """Return what may be taken of each packet: all of it, or the classes that agree."""
    offers: dict[NodeId, list[Statistics]] = {}
    for author in sorted(packets):
        trusted = alike.get(author, 0.0) >= ALIKE
        whole = config.merge == "whole" or (config.merge == "auto" and trusted)
        offer = [] if config.merge == "classwise" else [packets[author]]
        if not whole:
            offer += class_part(mine, packets[author])
        if offer:
            offers[author] = offer
    return offers


def _ranked(
    view: _View,
    offers: Mapping[NodeId, list[Statistics]],
    alike: Mapping[NodeId, float],
    deadline: Deadline,
) -> list[tuple[float, NodeId, Statistics]]:
    """Return packet loss, author and offer, least loss first.

    The packet loss is that of own samples by own evidence and this packet, two-fold; of each
    author the offer with the least.  After a share of the deadline the rest is left out.
    """
    ranked = []
    for author in first_asked(offers, alike):
        if deadline.over(RANKING):
            break
        tried = [
            (_likelihood(view, {author: offer}), -number)
            for number, offer in enumerate(offers[author])
        ]
        reached, number = max(tried)
        ranked.append((-reached, author, offers[author][-number]))
    return sorted(ranked, key=lambda entry: entry[:2])


def _fold_heads(unseen: Sequence[Statistics], shrinkage: float) -> tuple[Head, Head]:
    """Return for each fold the head of all that is not in it."""
    one, other = (solve(statistics, shrinkage) for statistics in unseen)
    return one, other


def _fold_scores(view: _View, heads: Sequence[Head]) -> list[Floats]:
    """Return each fold's (n_fold, C) scores by a head that has not seen the fold."""
    pairs = zip(view.features, heads, strict=True)
    return [head.scores(features) for features, head in pairs]


def _mean_logs(view: _View, scores: list[Floats]) -> list[float]:
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


def _likelihood(view: _View, chosen: Mapping[NodeId, Statistics]) -> float:
    """Return the two-fold likelihood of own samples with these packets merged."""
    unseen = [view.merged(part, chosen) for part in view.unseen]
    return max(_mean_logs(view, _fold_scores(view, _fold_heads(unseen, GATE_SHRINKAGE))))


def _tuned(
    view: _View, chosen: Mapping[NodeId, Statistics]
) -> tuple[Head, Statistics, float, tuple[Head, Head]]:
    """Return the mean head over shrinkages, what it is solved from, the likelihood, fold heads.

    The likelihood is that of own samples, two-fold, at the best shrinkage.  Of each fold's head
    no own sample of that fold is a part.

    Each shrinkage at its best temperature counts by the likelihood of the node's own samples:
    sixty samples cannot tell the best one, and the mean is better than the seemingly best
    (Bayesian model averaging; Hoeting 1999).  The mean of linear heads is a linear head.
    """
    merged = view.merged(view.mine, chosen)
    unseen = [view.merged(part, chosen) for part in view.unseen]
    tried, folded = [], []
    for shrinkage in SHRINKAGES:
        folded.append(_fold_heads(unseen, shrinkage))
        logs = _mean_logs(view, _fold_scores(view, folded[-1]))
        reached = list(zip(logs, TEMPERATURES, strict=True))
        tried.append((*max(reached), shrinkage))
    best = max(tried)[0]
    # As many samples as weigh alike (Kish 1965): where classes do, the rare ones are most of it.
    effective = 1.0 / max(float((view.weights**2).sum()), 1e-9)
    shares = posterior_shares([entry[0] for entry in tried], effective)
    head = Head.mean([solve(merged, shrinkage, t) for _, t, shrinkage in tried], shares)
    warmed = [
        [fold.tempered(entry[1]) for fold in heads]
        for heads, entry in zip(folded, tried, strict=True)
    ]
    one, other = (Head.mean([pair[side] for pair in warmed], shares) for side in (0, 1))
    return head, merged, best, (one, other)


def with_copies(
    own: OwnEvidence,
    d: int,
    encoded: Callable[[str], Sequence[Floats32]],
    invariances: Sequence[str],
) -> OwnEvidence:
    """Return evidence with those invariances that make the node's own samples more likely.

    encoded: gives the features of the samples' copies under an invariance.  A task may declare
    both flips for cameras that lie on their side: each node keeps what fits its own images.
    """
    best = _likelihood(_View.of(own, d), {})
    for kind in invariances:
        tried = replace(own, copies=(*own.copies, *encoded(kind)))
        reached = _likelihood(_View.of(tried, d), {})
        if reached > best:
            own, best = tried, reached
    return own
