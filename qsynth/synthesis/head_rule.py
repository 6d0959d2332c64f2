"""What rules share that make a linear head of class statistics: how it is judged and teaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from qsynth.distill.evidence import leaves_of
from qsynth.packet import Statistics, in_units, merge
from qsynth.schema import option, setting
from qsynth.synthesis.base import OwnData, Packets, Synthesis, SynthesisRule
from qsynth.synthesis.defence import all_capped
from qsynth.synthesis.lesson import MixedLessonOptions, Pool, SoftTargets, make_pool, offset_alone
from qsynth.synthesis.lift import lifted, with_scatter
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.types import Floats, NodeId


@option("synthesis.teach")
@dataclass(frozen=True)
class Teach(MixedLessonOptions):
    """How the synthesized head teaches the node's own network."""

    inputs: str = setting(
        "own_mix",
        "which inputs the head labels",
        choices=("own_mix", "unlabelled", "generated", "none"),
    )
    prior: str = setting(
        "own",
        "label shares that the head's answers follow, and so the network's",
        choices=("own", "uniform"),
    )


@option("synthesis")
@dataclass(frozen=True)
class HeadRule(SynthesisRule):
    """A rule that makes a linear head of class statistics.  An option gives `head_of`."""

    gate_s: float | None = setting(
        10.0,
        "CPU seconds that packets may cost; those that have not been tried by then do not "
        "count; null: any",
        low=0.01,
    )
    objective: str = setting(
        "own",
        "whose likelihood packets, the head and its weight are chosen by: samples as they "
        "come, or every class alike, where some are rare",
        choices=("own", "balanced"),
    )
    support_cap: float | None = setting(
        16.0, "times one's own samples that a packet counts as at most; null: as it claims", low=0.1
    )
    network: str = setting(
        "apart",
        "how the network learns: apart from the head, and taught by it; what the head's "
        "scores lack, untaught (boost); or that and taught (hybrid)",
        choices=("apart", "boost", "hybrid"),
    )
    teach: Teach = field(default_factory=Teach, metadata={"doc": "teaching the network"})

    def head_of(
        self,
        own: OwnEvidence,
        d: int,
        packets: Mapping[NodeId, Statistics],
        alike: Mapping[NodeId, float] | None = None,
        authors: Mapping[NodeId, int] | None = None,
    ) -> Synthesis:
        """Return the head of one's own evidence and of packets.

        d: features of the head; packets of fewer features, or of means alone, are filled in.
        packets: statistics by author; one author counts once, and so do copies.  alike: how alike
        each author's fingerprint is, as a share of how alike a node of the same data would look.
        authors: how many are behind each packet, where it is a sum.
        """
        raise NotImplementedError

    def synthesize(
        self, own: OwnData, packets: Packets, alike: Mapping[NodeId, float]
    ) -> Synthesis:
        """Return the head of own evidence and packets."""
        features = {author: evidence.features for author, evidence in packets.items()}
        assert isinstance(own.evidence, OwnEvidence)
        return self.head_of(own.evidence, own.d, features, alike, leaves_of(packets))

    def lesson(
        self,
        own: OwnData,
        synthesis: Synthesis,
        packets: Packets,
        rng: np.random.Generator,
        offset: Callable[[Any], Any] | None = None,
    ) -> SoftTargets | Pool | None:
        """Return inputs for the head to label, or an offset of the network's logits alone."""
        if offset is not None and self.network == "boost":
            return offset_alone(offset)
        inputs = None
        if self.teach.inputs == "generated":
            inputs = _inputs(own, synthesis, packets, self.support_cap)
        pool = make_pool(
            self.teach,
            synthesis.head,
            self.network_log_prior(synthesis) if own.task.classified else None,
            own.encoder,
            own.task,
            own.teaching_inputs(self.teach.inputs),
            inputs,
            rng,
            offset,
        )
        return offset_alone(offset) if pool is None and offset is not None else pool

    def network_log_prior(self, synthesis: Synthesis) -> Floats:
        """Return the (C,) log label shares that the network's answers follow."""
        teach = self.teach
        taught = teach.inputs != "none" and teach.weight > 0.0 and self.network != "boost"
        if not taught or teach.prior == "own":
            return synthesis.log_prior
        return np.full_like(synthesis.log_prior, -np.log(len(synthesis.log_prior)))

    def untaught(self) -> Self:
        """Return the rule with a network that no head teaches, nor learns what it lacks."""
        return replace(super().untaught(), network="apart")

    def one_by_one(self) -> str | None:
        """Return the setting that keeps networks from training in one computation, if any does."""
        return f"synthesis.network={self.network}" if self.summed else None

    @property
    def summed(self) -> bool:
        """Return whether the network learns what the head's scores lack."""
        return self.network != "apart"

    @property
    def balanced(self) -> bool:
        """Return whether every class counts alike, however rare it is."""
        return self.objective == "balanced"


def _inputs(own: OwnData, synthesis: Synthesis, packets: Packets, cap: float | None) -> Statistics:
    """Return the merged statistics of inputs, own ones and those of the authors that count.

    Where packets carry none, and features are inputs in other units: those of the features.
    """
    sent = {author: packets[author] for author in synthesis.authors}
    told = [evidence.inputs for evidence in sent.values() if evidence.inputs is not None]
    if told or own.encoder.units is None:
        return merge([own.input_statistics, *told])
    assert isinstance(own.evidence, OwnEvidence)
    location, scale = own.encoder.units
    mine = own.evidence.statistics(len(scale))
    kept = all_capped({a: e.features for a, e in sent.items()}, mine, cap, leaves_of(sent))
    parts = [lifted(with_scatter(packet, mine), mine) for packet in kept.values()]
    return in_units(merge([mine, *parts]), location, scale)
