"""The rule `reference_logits`: what the author's network answers to a public set of inputs.

Model knowledge: one byte for each input and class.  Everybody has the same inputs, without
labels; their digest travels along.  Source: FedMD (Li & Wang 2019), section 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qsynth.distill.analytic import Source
from qsynth.distill.class_means import ClassMeans
from qsynth.distill.coding import Shapes
from qsynth.errors import ConfigError, PacketError
from qsynth.packet import Payload, Statistics
from qsynth.schema import option, setting
from qsynth.types import Floats, Floats32

MAX_INPUTS = 4096  # of a public set: a packet holds no more


@option("distill")
@dataclass(frozen=True)
class ReferenceLogits(ClassMeans):
    """Send the network's answers to a public set of inputs that everybody has."""

    name: str = setting("reference_logits", "the option's name", choices=("reference_logits",))
    samples: int = setting(
        256,
        "inputs of the public set, taken from training data that no node holds",
        low=8,
        high=4096,
    )
    file: str | None = setting(None, "a .npy of inputs (n, ...) to be the public set instead")

    follows_network: ClassVar[bool] = True
    public_set: ClassVar[bool] = True
    sends: ClassVar[str | None] = "the network's answers to a public set"

    def further_shapes(self, classes: int, references: int | None = None) -> Shapes:
        """Return the arrays of answers.  Raises ConfigError where the public set is too large."""
        count = references or self.samples
        if count > MAX_INPUTS:
            raise ConfigError(f"distill: a public set of {count} inputs; at most {MAX_INPUTS}")
        return reference_shapes(count, classes)

    def further(self, source: Source) -> Payload:
        """Return the network's answers to the public set; nothing without a network."""
        if source.answer is None:
            return {}
        if source.reference is None:
            raise ConfigError("distill.name=reference_logits: the node has no public set")
        return code_answers(source.answer(source.reference), reference_digest(source.reference))

    def read(
        self, payload: Mapping[str, npt.NDArray[Any]], features: Statistics
    ) -> ReferenceAnswers | None:
        """Return the answers of a packet.  Raises PacketError."""
        told = "reference_codes" in payload
        return decode_answers(payload, len(features.counts)) if told else None


@dataclass(frozen=True)
class ReferenceAnswers:
    """Hold (R, C) probabilities, and the 8-byte digest of the inputs they answer."""

    probabilities: Floats
    digest: bytes


def reference_digest(inputs: Floats32) -> bytes:
    """Return 8 bytes that stand for a public set."""
    whole = hashlib.sha256(repr(inputs.shape).encode() + np.ascontiguousarray(inputs).tobytes())
    return whole.digest()[:8]


def reference_shapes(inputs: int, classes: int) -> Shapes:
    """Return the arrays of such a payload beside its class means."""
    return {"reference_codes": ((inputs, classes), np.uint8), "reference_digest": ((8,), np.uint8)}


def code_answers(logits: Floats, digest: bytes) -> Payload:
    """Return (R, C) answers in 8-bit numbers."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    return {
        "reference_codes": np.rint(probabilities * 255.0).astype(np.uint8),
        "reference_digest": np.frombuffer(digest, np.uint8),
    }


def decode_answers(
    payload: Mapping[str, npt.NDArray[np.generic]], classes: int
) -> ReferenceAnswers:
    """Return the answers of a payload, each a distribution.

    Raises PacketError with reason `schema` or `range`.
    """
    codes, digest = payload["reference_codes"], payload.get("reference_digest")
    if digest is None or digest.dtype != np.uint8 or digest.shape != (8,):
        raise PacketError("schema", "reference_digest must be 8 bytes")
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != classes:
        raise PacketError("schema", f"reference_codes must be uint8 of {classes} columns")
    if not 0 < len(codes) <= MAX_INPUTS:
        raise PacketError("schema", f"answers to {len(codes)} inputs")
    values = codes.astype(np.float64)
    totals = values.sum(axis=1, keepdims=True)
    # Rounding moves a sum by half a step a class.
    if np.abs(totals - 255.0).max() > classes / 2 + 1 or totals.min() <= 0.0:
        raise PacketError("range", "reference_codes are no distributions")
    return ReferenceAnswers(values / totals, digest.tobytes())
