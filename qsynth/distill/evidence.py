"""What a receiver reads in a packet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qsynth.distill.analytic import DistillRule
from qsynth.distill.coding import payload_statistics
from qsynth.distill.receipts import Receipts, decode_receipts
from qsynth.distill.targets import PREFIX as TARGET
from qsynth.distill.targets import decode_joint, sides
from qsynth.errors import PacketError
from qsynth.packet import Payload, Statistics
from qsynth.schema import name_of
from qsynth.types import Floats, Ints, NodeId


@dataclass(frozen=True)
class Evidence:
    """Hold what one packet says.

    features: of the encoder.  inputs: of inputs themselves, where they were sent.  receipts: of
    the authors behind a sum.  joint: of targets and features together, in tasks of labels or
    values.  told: what the rule of the receiver reads beside all this (`DistillRule.read`).
    """

    features: Statistics
    inputs: Statistics | None = None
    receipts: Receipts | None = None
    joint: Statistics | None = None
    told: object | None = None

    def sketched(self) -> tuple[Floats | Ints, Floats]:
        """Return the counts and feature sums that a fingerprint is made of."""
        if self.joint is None:
            return self.features.counts, self.features.sums
        return sides(self.joint, self.joint.dimensions - self.features.dimensions)


def read_evidence(payload: Payload, rule: DistillRule | None = None) -> Evidence:
    """Return what a payload says.  Raises PacketError where it is malformed.

    rule: the receiver's own: what other rules send beside statistics stays packed.
    """
    features = payload_statistics(payload)
    return Evidence(
        features,
        payload_statistics(payload, "input_") if "input_means" in payload else None,
        decode_receipts(payload) if "leaves" in payload else None,
        decode_joint(payload, features) if f"{TARGET}means" in payload else None,
        None if rule is None else _told(rule, payload, features),
    )


def _told(rule: DistillRule, payload: Payload, features: Statistics) -> object | None:
    """Return what a rule reads; whatever a package's rule raises, one packet ends no node."""
    try:
        return rule.read(payload, features)
    except PacketError:
        raise
    except Exception as error:
        raise PacketError(
            "schema", f"distill={name_of(rule)} cannot read it ({type(error).__name__}: {error})"
        ) from None


def leaves_of(packets: Mapping[NodeId, Evidence]) -> dict[NodeId, int]:
    """Return how many authors are behind each packet that is a sum."""
    return {
        author: len(evidence.receipts.leaves)
        for author, evidence in packets.items()
        if evidence.receipts is not None
    }
