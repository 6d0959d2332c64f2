"""The rule `class_kd`: the network learns what its peers' networks answer to each class.

Knowledge distillation (Hinton 2015) with one soft target a class, the mean over authors, on own
augmented inputs.  It carries what a model takes for similar, and little else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from qsynth.packet import Statistics
from qsynth.schema import option, setting
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.base import OwnData, Packets, Synthesis, SynthesisRule
from qsynth.synthesis.head import log_softmax
from qsynth.synthesis.lesson import LessonOptions, SoftTargets, augmented
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.types import Floats, Floats32, Ints, NodeId, Task

AGREED = 0.75  # share of common classes that an author's network must name as this node does


@option("synthesis")
@dataclass(frozen=True)
class ClassKd(SynthesisRule):
    """Teach the network what its peers' networks answer to each class (distill=class_logits)."""

    name: str = setting("class_kd", "the option's name", choices=("class_kd",))
    needs: ClassVar[str | None] = "class_logits"

    def alone(self, own: OwnData) -> Synthesis:
        """Return the head of own evidence: packets say nothing of it."""
        return AnalyticHead().synthesize(own, {}, {})

    def synthesize(
        self, own: OwnData, packets: Packets, alike: Mapping[NodeId, float]
    ) -> Synthesis:
        """Return the head of own evidence, and the authors whose networks teach this one."""
        assert isinstance(own.evidence, OwnEvidence)
        counts = np.bincount(own.evidence.labels, minlength=own.task.classes).astype(np.float64)
        kept = agreeing(counts, logits_of(packets), _support(packets))
        return replace(own.alone(), authors=kept)

    def lesson(
        self,
        own: OwnData,
        synthesis: Synthesis,
        packets: Packets,
        rng: np.random.Generator,
        offset: Callable[[Any], Any] | None = None,
    ) -> SoftTargets | None:
        """Return own augmented inputs with their class's mean answer; None without authors."""
        if not synthesis.authors or self.teach.weight == 0.0:
            return None
        assert isinstance(own.evidence, OwnEvidence)
        targets = class_targets(
            own.task.classes, synthesis.authors, logits_of(packets), _support(packets)
        )
        return class_lesson(self.teach, targets, own.inputs, own.evidence.labels, own.task, rng)


def logits_of(packets: Packets) -> dict[NodeId, Floats]:
    """Return the (C, C) mean answers of the networks that sent such."""
    return {a: e.told for a, e in packets.items() if isinstance(e.told, np.ndarray)}


def _support(packets: Packets) -> dict[NodeId, Statistics]:
    return {author: packet.features for author, packet in packets.items()}


def agreeing(
    counts: Floats, logits: Mapping[NodeId, Floats], support: Mapping[NodeId, Statistics]
) -> tuple[NodeId, ...]:
    """Return the authors, sorted, whose networks mean the same by the common classes.

    counts: (C,) own samples.  logits: (C, C) mean answers by author.
    """
    kept = []
    for author in sorted(logits):
        common = np.flatnonzero((counts > 0) & (support[author].counts > 0))
        right = logits[author][common].argmax(axis=1) == common
        if len(common) and right.mean() >= AGREED:
            kept.append(author)
    return tuple(kept)


def class_targets(
    classes: int,
    authors: tuple[NodeId, ...],
    logits: Mapping[NodeId, Floats],
    support: Mapping[NodeId, Statistics],
) -> Floats:
    """Return (C, C) mean answers; the label itself where no author knows the class."""
    total, seen = np.zeros((classes, classes)), np.zeros(classes)
    for author in authors:
        known = support[author].counts > 0
        total[known] += np.exp(log_softmax(logits[author]))[known]
        seen += known
    targets: Floats = np.where(
        (seen > 0)[:, None], total / np.maximum(seen, 1.0)[:, None], np.eye(classes)
    )
    return targets


def class_lesson(
    config: LessonOptions,
    targets: Floats,
    own: Floats32,
    labels: Ints,
    task: Task,
    rng: np.random.Generator,
) -> SoftTargets:
    """Return own augmented inputs with the soft target of their class.

    own: (n, *shape).  labels: (n,).  targets: (C, C).
    """
    rows = rng.integers(len(own), size=config.pool_size)
    made = augmented(own[rows], task, rng)
    soft = targets[labels[rows]].astype(np.float32)
    return SoftTargets(config, made, soft)
