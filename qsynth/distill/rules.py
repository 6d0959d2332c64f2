"""What every rule of distillation shares: its size, its class means, and what a receiver reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.distill import analytic
from qsynth.distill.class_logits import PREFIX, code_logits, decode_logits, logit_shapes
from qsynth.distill.config import Analytic, ClassLogits, ModelRule, ReferenceLogits
from qsynth.distill.config import Mosaic as MosaicRule
from qsynth.distill.means import mean_shapes
from qsynth.distill.mosaic import (
    MAX_CLASSES,
    MAX_NUMBERS,
    MAX_PIXELS,
    Mosaic,
    averaged_images,
    code_mosaic,
    decode_mosaic,
)
from qsynth.distill.receipts import Receipts, decode_receipts
from qsynth.distill.reference_logits import (
    MAX_INPUTS,
    ReferenceAnswers,
    code_answers,
    decode_answers,
    reference_digest,
    reference_shapes,
)
from qsynth.distill.targets import PREFIX as TARGET
from qsynth.distill.targets import decode_joint, sides, target_packet_size
from qsynth.errors import ConfigError
from qsynth.packet import Payload, Statistics, packet_bytes
from qsynth.types import Floats, Floats32, Ints, NodeId, Task

LEAST_CODE = 100  # bytes that a mosaic should at least have room for
Answer = Callable[[Floats32], Floats]  # inputs (n, ...) to logits (n, C)


@dataclass(frozen=True)
class Evidence:
    """Hold what one packet says.

    features: of the encoder.  inputs: of inputs themselves, where they were sent.  logits: (C, C)
    mean answers of the author's network by class.  answers: to a public set.  mosaic: averaged
    images.  receipts: of the authors behind a sum.  joint: of targets and features together, in
    tasks of labels or values.
    """

    features: Statistics
    inputs: Statistics | None = None
    logits: Floats | None = None
    answers: ReferenceAnswers | None = None
    mosaic: Mosaic | None = None
    receipts: Receipts | None = None
    joint: Statistics | None = None

    def sketched(self) -> tuple[Floats | Ints, Floats]:
        """Return the counts and feature sums that a fingerprint is made of."""
        if self.joint is None:
            return self.features.counts, self.features.sums
        return sides(self.joint, self.joint.dimensions - self.features.dimensions)


def read_evidence(payload: Payload, images: bool = True) -> Evidence:
    """Return what a payload says.  Raises PacketError where it is malformed.

    images: whether to unpack them: a node whose rule makes nothing of them leaves them packed.
    """
    features = analytic.payload_statistics(payload)
    return Evidence(
        features,
        analytic.payload_statistics(payload, "input_") if "input_means" in payload else None,
        decode_logits(payload) if f"{PREFIX}mean_codes" in payload else None,
        decode_answers(payload, len(features.counts)) if "reference_codes" in payload else None,
        decode_mosaic(payload, len(features.counts))
        if images and "mosaic_code" in payload
        else None,
        decode_receipts(payload) if "leaves" in payload else None,
        decode_joint(payload, features) if f"{TARGET}means" in payload else None,
    )


def leaves_of(packets: Mapping[NodeId, Evidence]) -> dict[NodeId, int]:
    """Return how many authors are behind each packet that is a sum."""
    return {
        author: len(evidence.receipts.leaves)
        for author, evidence in packets.items()
        if evidence.receipts is not None
    }


def statistics_rule(config: Any) -> Analytic:
    """Return how a rule's packets carry class statistics: by those every packet is routed."""
    if isinstance(config, Analytic):
        return config
    return Analytic(
        d=config.route_d,
        coding="means",
        min_support=config.min_support,
        max_bytes=config.max_bytes,
        ttl_s=config.ttl_s,
    )


def dimensions(
    config: Any, samples: int, encoder_dimensions: int, classes: int, input_size: int
) -> int:
    """Return how many features the class statistics of a packet have."""
    rule = statistics_rule(config)
    return analytic.dimensions(rule, samples, encoder_dimensions, classes, input_size)


def most_classes(config: Any, d: int, classes: int, input_size: int) -> int:
    """Return how many classes a packet can tell of."""
    if not isinstance(config, Analytic):
        return classes
    return analytic.most_classes(config, d, classes, input_size)


def check_size(
    config: Any,
    d: int,
    classes: int,
    input_size: int,
    references: int | None = None,
    samples: int | None = None,
) -> int:
    """Return a packet's bytes.  Raises ConfigError that names a setting that would fit.

    samples: of the largest node, which bound the classes that it can tell of.
    references: inputs of the public set, where they are given otherwise than by the config.
    """
    if isinstance(config, Analytic):
        return analytic.check_size(config, d, classes, input_size, samples)
    shapes = mean_shapes(classes, d)
    if isinstance(config, ClassLogits):
        shapes |= logit_shapes(classes)
    elif isinstance(config, MosaicRule):
        shapes |= {"mosaic_code": ((LEAST_CODE,), np.uint8)}
    else:
        count = references or config.samples
        if count > MAX_INPUTS:
            raise ConfigError(f"distill: a public set of {count} inputs; at most {MAX_INPUTS}")
        shapes |= reference_shapes(count, classes)
    needed = packet_bytes({key: np.zeros(shape, dtype) for key, (shape, dtype) in shapes.items()})
    if needed > config.max_bytes:
        raise ConfigError(
            f"distill.max_bytes={config.max_bytes}: a packet of {config.name} needs {needed} "
            f"bytes; distill.max_bytes={2 ** math.ceil(math.log2(needed))} would fit"
        )
    return needed


def check_target_size(config: Analytic, d: int, targets: int) -> int:
    """Return the bytes of a packet of labels or values.  Raises ConfigError beyond `max_bytes`."""
    needed = target_packet_size(config, d, targets)
    if needed > config.max_bytes:
        raise ConfigError(
            f"distill.max_bytes={config.max_bytes}: d={d}, rank={config.rank} and {targets} "
            f"targets need {needed} bytes; lower distill.d or distill.rank"
        )
    return needed


def check_layout(config: Any, task: Task) -> None:
    """Raise ConfigError where a rule cannot say anything of a task or inputs of this layout."""
    if not task.classified and (
        not isinstance(config, Analytic) or config.coding == "means" or config.input_rank
    ):
        raise ConfigError(
            f"distill: a task of {task.kind} needs distill=analytic, coding low_rank or diagonal "
            "and input_rank null"
        )
    if not isinstance(config, MosaicRule):
        return
    size = math.prod(task.shape)
    if task.layout != "image":
        raise ConfigError(f"distill.name=mosaic: needs images, the data are {task.layout} inputs")
    if size > MAX_PIXELS or task.classes > MAX_CLASSES:
        raise ConfigError(
            f"distill.name=mosaic: for images of at most {MAX_PIXELS} numbers and {MAX_CLASSES} "
            f"classes, the data have {size} and {task.classes}"
        )
    if config.images * size > MAX_NUMBERS:
        raise ConfigError(
            f"distill.images={config.images}: must be <= {MAX_NUMBERS // size} of {size} numbers"
        )


def mosaic_arrays(
    config: MosaicRule,
    payload: Payload,
    images: Floats32,
    labels: Ints,
    classes: int,
    rng: np.random.Generator,
) -> Payload:
    """Return a packet's mosaic: as fine as there is room beside the rest of the payload.

    images: (n, channels, height, width) in [0, 1].  Nothing where no class has enough samples.
    """
    counts = np.bincount(labels, minlength=classes)
    made = averaged_images(
        images, labels, counts, config.images, config.mixed, config.min_support, rng
    )
    if not len(made.labels):
        return {}
    empty = np.zeros(0, np.uint8)
    frame: dict[str, npt.NDArray[Any]] = {
        "mosaic_code": empty,
        "mosaic_labels": empty,
        "mosaic_shape": np.zeros(3, np.uint32),
        "mosaic_step": np.zeros(1, np.uint8),
    }
    return code_mosaic(made, config.max_bytes - packet_bytes(payload | frame))


def model_arrays(
    config: ModelRule,
    answer: Answer,
    inputs: Floats32,
    labels: Ints,
    classes: int,
    reference: Floats32 | None,
) -> Payload:
    """Return what a packet says of the author's network.

    answer: the network.  inputs, labels: own training samples.  reference: the public set.
    """
    if isinstance(config, ReferenceLogits):
        if reference is None:
            raise ConfigError("distill.name=reference_logits: the node has no public set")
        return code_answers(answer(reference), reference_digest(reference))
    kept = np.bincount(labels, minlength=classes)[labels] >= config.min_support
    # No network is asked about nothing: many cannot take an empty batch.
    logits = answer(inputs[kept]) if kept.any() else np.zeros((0, classes))
    return code_logits(logits, labels[kept], classes)
