"""The rule `reference_kd`: the network learns what its peers' networks answer to a public set.

Source: FedMD (Li & Wang 2019), section 3, without its server; the authors are those alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from qsynth.distill.reference_logits import ReferenceAnswers, reference_digest
from qsynth.schema import option, setting
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.base import OwnData, Packets, Synthesis, SynthesisRule
from qsynth.synthesis.head import log_softmax
from qsynth.synthesis.lesson import LessonOptions, SoftTargets
from qsynth.types import Floats, Floats32, NodeId


@option("synthesis")
@dataclass(frozen=True)
class ReferenceKd(SynthesisRule):
    """Teach the network what its peers' networks answer to a public set (reference_logits)."""

    name: str = setting("reference_kd", "the option's name", choices=("reference_kd",))
    needs: ClassVar[str | None] = "reference_logits"

    def alone(self, own: OwnData) -> Synthesis:
        """Return the head of own evidence: packets say nothing of it."""
        return AnalyticHead().synthesize(own, {}, {})

    def synthesize(
        self, own: OwnData, packets: Packets, alike: Mapping[NodeId, float]
    ) -> Synthesis:
        """Return the head of own evidence, and the authors whose networks teach this one."""
        made = own.alone()
        if own.reference is None:
            return replace(made, authors=())
        scores = made.head.scores(own.encoder.encode(own.reference, made.head.dimensions))
        return replace(made, authors=agreeing(answers_of(packets, own.reference), scores))

    def lesson(
        self,
        own: OwnData,
        synthesis: Synthesis,
        packets: Packets,
        rng: np.random.Generator,
        offset: Callable[[Any], Any] | None = None,
    ) -> SoftTargets | None:
        """Return the public set with the mean answer of the authors; None without authors."""
        if not synthesis.authors or self.teach.weight == 0.0:
            return None
        assert own.reference is not None
        answers = answers_of(packets, own.reference)
        return reference_lesson(self.teach, synthesis.authors, answers, own.reference)


def answers_of(packets: Packets, reference: Floats32) -> dict[NodeId, Floats]:
    """Return the answers to one's own public set: those to another say nothing here."""
    digest, made = reference_digest(reference), {}
    for author, evidence in packets.items():
        answers = evidence.told
        if not isinstance(answers, ReferenceAnswers) or answers.digest != digest:
            continue
        if len(answers.probabilities) == len(reference):
            made[author] = answers.probabilities
    return made


def agreeing(answers: Mapping[NodeId, Floats], own: Floats) -> tuple[NodeId, ...]:
    """Return the authors, sorted, whose answers tell more of one's own than chance does.

    answers: (R, C) probabilities by author.  own: (R, C) scores of one's own head.
    """
    mine = np.exp(log_softmax(own))
    kept = []
    for author in sorted(answers):
        logs = np.log((answers[author] + 1e-3) / (1.0 + 1e-3 * mine.shape[1]))
        if float((mine * logs).sum(axis=1).mean()) > -np.log(mine.shape[1]):
            kept.append(author)
    return tuple(kept)


def reference_lesson(
    config: LessonOptions,
    authors: tuple[NodeId, ...],
    answers: Mapping[NodeId, Floats],
    reference: Floats32,
) -> SoftTargets | None:
    """Return the public set with the mean answer of the authors, or None without authors."""
    if not authors:
        return None
    soft = np.mean([answers[author] for author in authors], axis=0)
    return SoftTargets(config, reference, soft.astype(np.float32))
