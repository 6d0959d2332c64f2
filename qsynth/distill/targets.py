"""Statistics of inputs and targets together: what ridge regression needs, for labels and values.

The joint statistics of (y, x) are those of one class over targets and features: they add, and can
be taken out again, as class statistics do.  A packet sends the part between y and x, and that of y,
whole; of the part of x alone low-rank factors and a diagonal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from qsynth.distill.analytic import MAX_AUTO, MIN_AUTO, Analytic
from qsynth.distill.coding import Shapes, bytes_of, code_statistics, statistics_shapes, to_int8
from qsynth.distill.means import MAX_FEATURES
from qsynth.errors import ConfigError, PacketError
from qsynth.packet import Payload, Statistics, joint_statistics
from qsynth.types import LABELS, VALUES, Floats, Floats32, Ints

PREFIX = "target_"
LARGEST = 1e6  # of a mean or a product of targets, which are in units of their spread


def features_of(joint: Statistics, targets: int) -> Statistics:
    """Return the part of the features alone.  targets: K."""
    return Statistics(joint.counts, joint.sums[:, targets:], joint.scatter[targets:, targets:])


def sides(joint: Statistics, targets: int) -> tuple[Ints, Floats]:
    """Return counts (2 K,) and feature sums (2 K, d) as if each target had two classes.

    The mean features above and below a target's mean, by its covariance with them: what a
    fingerprint of classes is to a task of targets.
    """
    total = max(float(joint.counts[0]), 1.0)
    mean = joint.sums[0, targets:] / total
    spread = np.sqrt(np.maximum(np.diag(joint.scatter)[:targets], 1e-12))[:, None]
    moved = joint.scatter[:targets, targets:] / spread / np.sqrt(total)
    moved = np.where(spread > 1e-5, moved, 0.0)
    rows = np.concatenate([mean + moved, mean - moved])
    half = int(joint.counts[0]) // 2
    return np.full(2 * targets, half), rows * half


def distil_targets(
    config: Analytic, d: int, features: Floats32, targets: Floats32, kind: str = VALUES
) -> Payload:
    """Return the payload of (n, D >= d) features and (n, K) targets; nothing of too few samples.

    kind: of the task.  Of a label that holds, or does not hold, for fewer than `min_support`
    samples, it says that it never, or always, holds.
    """
    kept = slice(None) if len(targets) >= config.min_support else slice(0)
    if kind == LABELS:
        positive = targets.sum(axis=0)
        targets = np.where(positive < config.min_support, np.float32(0.0), targets)
        rare = len(targets) - positive < config.min_support
        targets = np.where(rare, np.float32(1.0), targets)
    joint = joint_statistics(features[kept, :d], targets[kept])
    return code_joint(joint, targets.shape[1], config.factors)


def code_joint(joint: Statistics, targets: int, rank: int) -> Payload:
    """Return the arrays of joint statistics.  rank: low-rank factors of the features' scatter."""
    cross, scales = to_int8(joint.scatter[:targets, targets:], axis=1)
    means = joint.sums[0, :targets] / max(float(joint.counts[0]), 1.0)
    return code_statistics(features_of(joint, targets), rank, "") | {
        f"{PREFIX}means": means.astype(np.float32),
        f"{PREFIX}scatter": joint.scatter[:targets, :targets].astype(np.float32),
        f"{PREFIX}cross": cross,
        f"{PREFIX}cross_scales": scales,
    }


def decode_joint(
    payload: Mapping[str, npt.NDArray[np.generic]], features: Statistics
) -> Statistics:
    """Return the joint statistics of a payload.  features: the part of it that has been decoded.

    Raises PacketError with reason `schema` or `range`.
    """
    try:
        means, scatter = payload[f"{PREFIX}means"], payload[f"{PREFIX}scatter"]
        cross, scales = payload[f"{PREFIX}cross"], payload[f"{PREFIX}cross_scales"]
    except KeyError as missing:
        raise PacketError("schema", f"no array {missing}") from None
    count, d = len(means) if means.ndim == 1 else 0, features.dimensions
    arrays = {"means": means, "scatter": scatter, "cross": cross, "cross_scales": scales}
    for name, (shape, dtype) in _shapes(count, d).items():
        array = arrays[name.removeprefix(PREFIX)]
        if array.shape != shape or array.dtype != dtype:
            raise PacketError("schema", f"{name} must be {np.dtype(dtype)}{shape}")
    if not 0 < count <= MAX_FEATURES or len(features.counts) != 1:
        raise PacketError("schema", f"{count} targets, {len(features.counts)} classes")
    numbers = np.concatenate([scatter.ravel(), scales])
    most = LARGEST * max(float(features.counts[0]), 1.0)
    finite = np.isfinite(numbers).all() and np.isfinite(means).all()
    if not finite or np.abs(numbers).max() > most or np.abs(means).max() > np.sqrt(LARGEST):
        raise PacketError("range", "targets must be finite")
    if not np.array_equal(scatter, scatter.T) or np.diag(scatter).min() < 0.0:
        raise PacketError("range", "target_scatter must be symmetric, its diagonal positive")
    between = cross.astype(np.float64) * scales.astype(np.float64)[:, None]
    total = float(features.counts[0])
    sums = np.concatenate([means.astype(np.float64)[None] * total, features.sums], axis=1)
    own = scatter.astype(np.float64)
    return Statistics(
        features.counts, sums, np.block([[own, between], [between.T, features.scatter]])
    )


def target_packet_size(config: Analytic, d: int, targets: int) -> int:
    """Return the bytes of a packet with these settings, signature included."""
    rank = min(config.factors, d)
    shapes = statistics_shapes(1, d, rank, "") | _shapes(targets, d)
    return bytes_of(shapes)


def check_target_size(config: Analytic, d: int, targets: int) -> int:
    """Return the bytes of a packet of labels or values.  Raises ConfigError beyond `max_bytes`."""
    needed = target_packet_size(config, d, targets)
    if needed > config.max_bytes:
        raise ConfigError(
            f"distill.max_bytes={config.max_bytes}: d={d}, rank={config.rank} and {targets} "
            f"targets need {needed} bytes; lower distill.d or distill.rank"
        )
    return needed


def target_dimensions(
    config: Analytic, samples: int, encoder_dimensions: int, targets: int, least: int = 0
) -> int:
    """Return d: the setting; `auto`: half the samples, `fit`: all features; less by max_bytes."""
    if config.d not in ("auto", "fit"):
        return min(int(config.d), encoder_dimensions)
    d = (
        encoder_dimensions
        if config.d == "fit"
        else max(min(samples // 2, MAX_AUTO), MIN_AUTO, least)
    )
    d = min(d, encoder_dimensions)
    while d > MIN_AUTO and target_packet_size(config, d, targets) > config.max_bytes:
        d -= 1
    return d


def _shapes(targets: int, d: int) -> Shapes:
    return {
        f"{PREFIX}means": ((targets,), np.float32),
        f"{PREFIX}scatter": ((targets, targets), np.float32),
        f"{PREFIX}cross": ((targets, d), np.int8),
        f"{PREFIX}cross_scales": ((targets,), np.float32),
    }
