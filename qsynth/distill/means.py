"""The coding `means`: class counts and class means in 4-bit numbers, for the smallest links.

It carries no scatter: a receiver takes its own, scaled to the author's samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from qsynth.errors import PacketError
from qsynth.packet import Payload, Statistics

MAX_SUPPORT = 10_000_000  # samples a class may claim: beyond it a packet is nonsense
MAX_FEATURES = 1024  # of an encoder: beyond it a d x d matrix is an attack
STEPS = 7  # of a 4-bit number on each side of zero
LARGEST = 255.0


def mean_shapes(classes: int, d: int) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Return the arrays of such a payload; d is even: two numbers a byte."""
    return {
        "counts": ((classes,), np.uint32),
        "mean_codes": ((classes, d // 2), np.uint8),
        "mean_steps": ((classes,), np.uint8),
        "mean_step": ((1,), np.float32),
    }


def code_means(statistics: Statistics, reach: float = 0.0) -> Payload:
    """Return counts and class means, each class with a step of its own (8 bits of the largest).

    reach: share of a row's largest number that is not clipped.
    """
    means = statistics.means()
    # The step that loses least is below the largest value: 4-bit numbers clip the tails.
    wide_enough = reach * np.abs(means).max(axis=1, initial=0.0)
    ideal = np.maximum(np.sqrt(np.square(means).mean(axis=1)) * 2.7, wide_enough) / STEPS
    step = np.float32(max(float(ideal.max(initial=0.0)), 1e-12))
    steps = np.clip(np.ceil(ideal / float(step) * LARGEST), 1, LARGEST).astype(np.uint8)
    wide = (steps / LARGEST * float(step))[:, None]
    codes = (np.clip(np.rint(means / wide), -STEPS, STEPS) + STEPS).astype(np.uint8)
    return {
        "counts": np.rint(statistics.counts).astype(np.uint32),
        "mean_codes": codes[:, 0::2] << 4 | codes[:, 1::2],
        "mean_steps": steps,
        "mean_step": np.array([step], np.float32),
    }


def decode_means(payload: Mapping[str, npt.NDArray[np.generic]]) -> Statistics:
    """Return the statistics of a payload of means; the scatter is zero: nothing is said of it.

    Raises PacketError with reason `schema` or `range`.
    """
    try:
        counts, codes = payload["counts"], payload["mean_codes"]
        steps, step = payload["mean_steps"], payload["mean_step"]
    except KeyError as missing:
        raise PacketError("schema", f"no array {missing}") from None
    if codes.ndim != 2 or counts.ndim != 1 or 2 * codes.shape[1] > MAX_FEATURES:
        raise PacketError("schema", "counts must be a vector, mean_codes a matrix")
    arrays = {"counts": counts, "mean_codes": codes, "mean_steps": steps, "mean_step": step}
    for key, (shape, dtype) in mean_shapes(len(counts), 2 * codes.shape[1]).items():
        if arrays[key].shape != shape or arrays[key].dtype != dtype:
            raise PacketError("schema", f"{key} must be {dtype}{shape}")
    # Compared as it came: widening a signalling NaN of a hostile packet would be a warning.
    if not (0.0 <= step[0] <= 1e6) or counts.max(initial=0) > MAX_SUPPORT:
        raise PacketError("range", "counts or step out of range")
    largest = float(step[0])
    packed = codes.astype(np.int64)
    d = 2 * codes.shape[1]
    pairs = np.stack([packed >> 4, packed & 15], axis=2).reshape(len(counts), d) - STEPS
    if pairs.max(initial=0) > STEPS:
        raise PacketError("range", "mean_codes hold 15")
    wide = steps.astype(np.float64) / LARGEST * largest
    support = counts.astype(np.float64)
    return Statistics(support, pairs * (wide * support)[:, None], np.zeros((d, d)))
