"""The rule `class_logits`: what the author's network answers, on average, to each class.

Model knowledge in half a kilobyte: C x C numbers, coded like class means.  Beside it travel the
4-bit class means by which every packet is routed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from qsynth.distill.analytic import Source
from qsynth.distill.class_means import ClassMeans
from qsynth.distill.coding import Shapes
from qsynth.distill.means import code_means, decode_means, mean_shapes
from qsynth.errors import PacketError
from qsynth.packet import Payload, Statistics, class_statistics
from qsynth.schema import option, setting
from qsynth.types import Floats, Ints

# Share of a row's largest number that its 4-bit numbers reach: of many classes one stands out.
LEAST_REACH = 0.8
PREFIX = "l_"  # every byte counts in 512


@option("distill")
@dataclass(frozen=True)
class ClassLogits(ClassMeans):
    """Send the network's mean logits for each class: model knowledge in 512 bytes."""

    name: str = setting("class_logits", "the option's name", choices=("class_logits",))

    follows_network: ClassVar[bool] = True
    sends: ClassVar[str | None] = "the network's mean answers to each class"

    def further_shapes(self, classes: int, references: int | None = None) -> Shapes:
        """Return the arrays of mean logits."""
        return logit_shapes(classes)

    def further(self, source: Source) -> Payload:
        """Return the mean logits of each class of enough samples; nothing without a network."""
        if source.answer is None:
            return {}
        labels, classes = source.labels, source.task.classes
        kept = np.bincount(labels, minlength=classes)[labels] >= self.min_support
        # No network is asked about nothing: many cannot take an empty batch.
        logits = source.answer(source.inputs[kept]) if kept.any() else np.zeros((0, classes))
        return code_logits(logits, labels[kept], classes)

    def read(self, payload: Mapping[str, npt.NDArray[Any]], features: Statistics) -> Floats | None:
        """Return (C, C) mean logits by class.  Raises PacketError."""
        return decode_logits(payload) if f"{PREFIX}mean_codes" in payload else None


def logit_shapes(classes: int) -> Shapes:
    """Return the arrays of such a payload beside its class means."""
    shapes = mean_shapes(classes, classes + classes % 2)
    del shapes["counts"]
    return {PREFIX + key: entry for key, entry in shapes.items()}


def code_logits(logits: Floats, labels: Ints, classes: int) -> Payload:
    """Return the mean logits of each class, less the mean of each answer.

    logits: (n, C) of the author's network on its own samples.  labels: (n,).
    """
    centred = logits - logits.mean(axis=1, keepdims=True)
    if classes % 2:
        centred = np.pad(centred, ((0, 0), (0, 1)))
    payload = code_means(class_statistics(centred, labels, classes), LEAST_REACH)
    del payload["counts"]
    return {PREFIX + key: array for key, array in payload.items()}


def decode_logits(payload: Mapping[str, npt.NDArray[np.generic]]) -> Floats:
    """Return (C, C) mean logits by class, zeros where the author has no sample.

    Raises PacketError with reason `schema` or `range`.
    """
    arrays = {
        key: payload[PREFIX + key]
        for key in ("mean_codes", "mean_steps", "mean_step")
        if PREFIX + key in payload
    }
    if "counts" in payload:
        arrays["counts"] = payload["counts"]
    means = decode_means(arrays).means()
    classes = len(means)
    if means.shape[1] != classes + classes % 2:
        raise PacketError("schema", f"{PREFIX}mean_codes of {classes} classes and {means.shape[1]}")
    square: Floats = means[:, :classes]
    return square
