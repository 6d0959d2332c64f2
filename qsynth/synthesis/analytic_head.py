"""The rule `analytic_head`: own statistics and admitted packets become one head.

The gate settles what similarity cannot: a packet counts only if the node's own samples become
more likely with it, in two-fold cross-fitting with the fold's own samples taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from qsynth.packet import Statistics
from qsynth.schema import option, setting
from qsynth.synthesis.base import GATE, Synthesis
from qsynth.synthesis.classwise import class_part
from qsynth.synthesis.defence import all_capped, distinct
from qsynth.synthesis.fold_view import FoldView, fold_heads, fold_scores, mean_logs
from qsynth.synthesis.gate import ALIKE, RANKING, Deadline, first_asked, greedy, posterior_shares
from qsynth.synthesis.head import SHRINKAGES, TEMPERATURES, Head, log_prior, solve
from qsynth.synthesis.head_rule import HeadRule
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.types import Floats32, NodeId

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
    view = FoldView.of(own, d, balanced)
    packets = distinct(packets, view.mine)
    packets = all_capped(packets, view.mine, config.support_cap, authors or {})
    deadline = Deadline(config.gate_s)
    made = [_synthesis(config, view, packets, alike or {}, deadline)]
    if any(packet.dimensions < d for packet in packets.values()) and not deadline.over():
        neutral = replace(view, neutral=True)
        made.append(_synthesis(config, neutral, packets, alike or {}, deadline))
    return max(made, key=lambda synthesis: synthesis.likelihood)


def _synthesis(
    config: AnalyticHead,
    view: FoldView,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
    deadline: Deadline,
) -> Synthesis:
    chosen, gains = let_in(config, view, packets, alike, deadline)
    head, likelihood, unseen = _tuned(view, chosen)
    prior = log_prior(np.bincount(view.own.labels, minlength=view.own.classes).astype(np.float64))
    left = len(packets) - len(gains) if config.gate == "greedy" and deadline.over() else 0
    return Synthesis(head, tuple(sorted(chosen)), prior, likelihood, unseen, gains, left)


def let_in(
    config: AnalyticHead,
    view: FoldView,
    packets: Mapping[NodeId, Statistics],
    alike: Mapping[NodeId, float],
    deadline: Deadline,
) -> tuple[dict[NodeId, Statistics], dict[NodeId, float]]:
    """Return what counts of each packet that does, and what each author tried brought."""
    offers = _offers(config, view.mine, packets, alike)
    if config.gate == "none" and config.most is None:
        return {author: parts[0] for author, parts in offers.items()}, {}
    if config.gate == "none":
        ranked = _ranked(view, offers, alike, deadline)[: config.most]
        return {author: offer for _, author, offer in ranked}, {}
    ranked = _ranked(view, offers, alike, deadline)
    most = config.most or len(offers)
    return greedy(partial(_likelihood, view), ranked, alike, most, deadline)


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
    view: FoldView,
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


def _likelihood(view: FoldView, chosen: Mapping[NodeId, Statistics]) -> float:
    """Return the two-fold likelihood of own samples with these packets merged."""
    unseen = [view.merged(part, chosen) for part in view.unseen]
    return max(mean_logs(view, fold_scores(view, fold_heads(unseen, GATE_SHRINKAGE))))


def _tuned(
    view: FoldView, chosen: Mapping[NodeId, Statistics]
) -> tuple[Head, float, tuple[Head, Head]]:
    """Return the mean head over shrinkages, the likelihood, fold heads.

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
        folded.append(fold_heads(unseen, shrinkage))
        logs = mean_logs(view, fold_scores(view, folded[-1]))
        reached = list(zip(logs, TEMPERATURES, strict=True))
        tried.append((*max(reached), shrinkage))
    best = max(tried)[0]
    shares = posterior_shares([entry[0] for entry in tried], view.effective)
    head = Head.mean([solve(merged, shrinkage, t) for _, t, shrinkage in tried], shares)
    warmed = [
        [fold.tempered(entry[1]) for fold in heads]
        for heads, entry in zip(folded, tried, strict=True)
    ]
    one, other = (Head.mean([pair[side] for pair in warmed], shares) for side in (0, 1))
    return head, best, (one, other)


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
    best = _likelihood(FoldView.of(own, d), {})
    for kind in invariances:
        tried = replace(own, copies=(*own.copies, *encoded(kind)))
        reached = _likelihood(FoldView.of(tried, d), {})
        if reached > best:
            own, best = tried, reached
    return own
