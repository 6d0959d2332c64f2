"""What a synthesis rule is: what it makes of own evidence and packets, and what it teaches.

Rules are NumPy alone: a node serves, and help answers, before torch is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from qsynth.distill.analytic import DistillRule
from qsynth.distill.evidence import Evidence
from qsynth.errors import ConfigError
from qsynth.packet import Statistics, class_statistics
from qsynth.schema import name_of, option, setting
from qsynth.synthesis.head import Head
from qsynth.synthesis.lesson import LessonOptions, Pool, SoftTargets
from qsynth.synthesis.own_evidence import OwnEvidence, TargetEvidence
from qsynth.types import Floats, Floats32, NodeId, Task

if TYPE_CHECKING:
    from qsynth.encoder import Encoder

Packets = Mapping[NodeId, Evidence]
GATE = "which admitted packets count"  # what the setting `gate` says


@dataclass(frozen=True)
class Synthesis:
    """Hold what a node knows after synthesis.

    head: before any prior.  authors: whose packets count, in the order of their ids.
    log_prior: (C,) of the node's own labels.
    likelihood: two-fold mean log-likelihood of the node's own samples.
    unseen: for each of the two folds of own samples a head that has not seen it.
    gains: what each author that the rule has tried brought to the likelihood, or would have.
    unasked: packets that it had no time for.
    """

    head: Head
    authors: tuple[NodeId, ...]
    log_prior: Floats
    likelihood: float
    unseen: tuple[Head, Head]
    gains: Mapping[NodeId, float] = field(default_factory=dict)
    unasked: int = 0


@dataclass(frozen=True)
class OwnData:
    """Hold what a node has of its own when it synthesizes.

    evidence: its training samples in features, dealt to two folds.  inputs: (n, *task.shape) the
    same samples.  unlabelled: further inputs of its own.  reference: the public set.  d: features
    of the head.  alone: gives the synthesis of own evidence alone.
    """

    task: Task
    encoder: Encoder
    evidence: OwnEvidence | TargetEvidence
    inputs: Floats32
    d: int
    alone: Callable[[], Synthesis]
    unlabelled: Floats32 | None = None
    reference: Floats32 | None = None

    @cached_property
    def input_statistics(self) -> Statistics:
        """Return the class statistics of the inputs themselves: they stay the same."""
        assert isinstance(self.evidence, OwnEvidence)
        flat = self.inputs.reshape(len(self.inputs), -1)
        return class_statistics(flat, self.evidence.labels, self.task.classes)

    def teaching_inputs(self, kind: str) -> Floats32:
        """Return the inputs that lessons are made of; kind: `teach.inputs`."""
        if kind != "unlabelled" or self.unlabelled is None:
            return self.inputs
        return np.concatenate([self.inputs, self.unlabelled])


@option("synthesis")
@dataclass(frozen=True)
class SynthesisRule:
    """A synthesis rule.  An option subclasses it and gives `synthesize` and `lesson`."""

    d: int | None = setting(
        None, "features of the head; null: as many as the own packet has", low=4
    )
    head_weight: float | None = setting(
        None,
        "of the head in the predictor; null: by validation, or .5 below 50 samples",
        low=0.0,
        high=1.0,
    )

    teach: LessonOptions = field(
        default_factory=LessonOptions, metadata={"doc": "teaching the network"}
    )

    needs: ClassVar[str | None] = None  # the rule of distillation whose packets it learns from
    # Whether it is for classes; for labels and values; or, None, for all of them.
    classified: ClassVar[bool | None] = True

    def synthesize(
        self, own: OwnData, packets: Packets, alike: Mapping[NodeId, float]
    ) -> Synthesis:
        """Return the synthesis of own evidence and packets.

        The same packets give the same bits, in whatever order they came.  alike: how alike each
        author's fingerprint is, as a share of how alike a node of the same data would look.
        """
        raise NotImplementedError

    def alone(self, own: OwnData) -> Synthesis:
        """Return the synthesis of own evidence alone."""
        return self.synthesize(own, {}, {})

    def lesson(
        self,
        own: OwnData,
        synthesis: Synthesis,
        packets: Packets,
        rng: np.random.Generator,
        offset: Callable[[Any], Any] | None = None,
    ) -> SoftTargets | Pool | None:
        """Return what the network learns from for one period, or None where nothing is taught.

        offset: of the network's logits, where `summed`.
        """
        return None

    def network_log_prior(self, synthesis: Synthesis) -> Floats:
        """Return the (C,) log label shares that the network's answers follow."""
        return synthesis.log_prior

    def untaught(self) -> Self:
        """Return the rule with a network that no head teaches."""
        return replace(self, teach=replace(self.teach, weight=0.0))

    @property
    def summed(self) -> bool:
        """Return whether the network learns what the head's scores lack."""
        return False

    @property
    def balanced(self) -> bool:
        """Return whether every class counts alike, however rare it is."""
        return False

    @property
    def teaching_kind(self) -> str:
        """Return which inputs are taught on: own_mix, unlabelled, generated or none."""
        return self.teach.kind()

    def one_by_one(self) -> str | None:
        """Return the setting that keeps networks from training in one computation, if any does."""
        return None

    def check_task(self, task: Task) -> None:
        """Raise ConfigError where the rule is not for such a task."""
        if self.classified not in (None, task.classified):
            raise ConfigError(
                f"synthesis.name={name_of(self)}: not for a task of {task.kind}; "
                "use synthesis=hierarchical"
            )
        if self.teaching_kind == "generated" and task.layout == "tokens":
            raise ConfigError(
                "synthesis.teach.inputs=generated: makes numbers, the task has layout tokens; "
                "use own_mix or unlabelled"
            )


@option("synthesis")
@dataclass(frozen=True)
class Gated(SynthesisRule):
    """A rule that lets in one packet after the other, while own samples become likelier."""

    gate: str = setting("greedy", GATE, choices=("greedy", "none"))
    gate_s: float | None = setting(
        10.0, "CPU seconds that packets may cost; the rest do not count; null: any", low=0.01
    )


def check_rules(distill: DistillRule, synthesis: SynthesisRule) -> None:
    """Raise ConfigError where a rule of synthesis learns nothing from the packets of another."""
    needed = synthesis.needs
    if needed is not None and name_of(distill) != needed:
        raise ConfigError(
            f"synthesis.name={name_of(synthesis)}: learns from packets of distill={needed}, "
            f"not {name_of(distill)}"
        )
