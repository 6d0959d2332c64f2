"""Class statistics as the arrays of a packet: 8-bit numbers, low-rank factors and a diagonal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from qsynth.distill.means import MAX_FEATURES, MAX_SUPPORT, decode_means
from qsynth.distill.subset import widen
from qsynth.errors import PacketError
from qsynth.packet import Payload, Statistics, packet_bytes
from qsynth.types import Floats, Floats32

Shapes = dict[str, tuple[tuple[int, ...], type[np.generic]]]


def bytes_of(shapes: Shapes) -> int:
    """Return the bytes of a packet with these arrays, signature included."""
    return packet_bytes({key: np.zeros(shape, dtype) for key, (shape, dtype) in shapes.items()})


def payload_statistics(
    payload: Mapping[str, npt.NDArray[np.generic]], prefix: str = ""
) -> Statistics:
    """Return the statistics that a payload carries.

    prefix: "" for features, "input_" for inputs.  Raises PacketError with reason `schema` or
    `range` where arrays are missing, do not fit together or hold impossible values.
    """
    payload = widen(payload)
    if not prefix and "mean_codes" in payload:
        return decode_means(payload)
    try:
        counts = payload["counts"]
        means, mean_scales = payload[f"{prefix}means"], payload[f"{prefix}mean_scales"]
        factors, factor_scales = payload[f"{prefix}factors"], payload[f"{prefix}factor_scales"]
        diagonal, bounds = payload[f"{prefix}diagonal"], payload[f"{prefix}diagonal_bounds"]
    except KeyError as missing:
        raise PacketError("schema", f"no array {missing}") from None
    arrays = {"counts": counts, f"{prefix}means": means, f"{prefix}mean_scales": mean_scales}
    arrays |= {f"{prefix}factors": factors, f"{prefix}factor_scales": factor_scales}
    arrays |= {f"{prefix}diagonal": diagonal, f"{prefix}diagonal_bounds": bounds}
    if counts.ndim != 1 or means.ndim != 2 or factors.ndim != 2:
        raise PacketError("schema", "counts must be a vector, means and factors matrices")
    if not prefix and means.shape[1] > MAX_FEATURES:
        raise PacketError("schema", f"{means.shape[1]} features")
    expected = statistics_shapes(len(counts), means.shape[1], factors.shape[1], prefix)
    expected["counts"] = expected.pop(f"{prefix}counts")
    for key, (shape, dtype) in expected.items():
        if arrays[key].shape != shape or arrays[key].dtype != dtype:
            raise PacketError("schema", f"{key} must be {dtype}{shape}")
    # Checked as they came: widening a signalling NaN of a hostile packet would be a warning.
    scales = np.concatenate([mean_scales, factor_scales, bounds])
    if not np.isfinite(scales).all() or np.abs(scales).max(initial=0.0) > 1e6:
        raise PacketError("range", "scales must be finite")
    if counts.max(initial=0) > MAX_SUPPORT or bounds[1] < bounds[0] or bounds[1] > 60.0:
        raise PacketError("range", "counts or diagonal out of range")
    return _decode(counts, means, mean_scales, factors, factor_scales, diagonal, bounds)


def statistics_shapes(classes: int, d: int, rank: int, prefix: str) -> Shapes:
    """Return shape and type of each array of a payload of statistics."""
    return {
        f"{prefix}counts": ((classes,), np.uint32),
        f"{prefix}means": ((classes, d), np.int8),
        f"{prefix}mean_scales": ((classes,), np.float32),
        f"{prefix}factors": ((d, rank), np.int8),
        f"{prefix}factor_scales": ((rank,), np.float32),
        f"{prefix}diagonal": ((d,), np.uint8),
        f"{prefix}diagonal_bounds": ((2,), np.float32),
    }


def code_statistics(statistics: Statistics, rank: int, prefix: str) -> Payload:
    """Return the arrays of statistics: `prefix` is "" for features, "input_" for inputs."""
    means, mean_scales = to_int8(statistics.means(), axis=1)
    rank = min(rank, statistics.dimensions)
    values, vectors = np.linalg.eigh(statistics.scatter)
    top = np.argsort(-values, kind="stable")[:rank]
    roots = np.sqrt(np.maximum(values[top], 0.0))
    factors, factor_scales = to_int8(vectors[:, top] * roots, axis=0)
    low_rank = factors.astype(np.float64) * factor_scales.astype(np.float64)
    rest = np.diag(statistics.scatter) - np.square(low_rank).sum(axis=1)
    diagonal, bounds = _to_log_uint8(rest, float(np.trace(statistics.scatter)))
    return {
        f"{prefix}counts": np.rint(statistics.counts).astype(np.uint32),
        f"{prefix}means": means,
        f"{prefix}mean_scales": mean_scales,
        f"{prefix}factors": factors,
        f"{prefix}factor_scales": factor_scales,
        f"{prefix}diagonal": diagonal,
        f"{prefix}diagonal_bounds": bounds,
    }


def _decode(
    counts: npt.NDArray[np.generic],
    means: npt.NDArray[np.generic],
    mean_scales: npt.NDArray[np.generic],
    factors: npt.NDArray[np.generic],
    factor_scales: npt.NDArray[np.generic],
    diagonal: npt.NDArray[np.generic],
    bounds: npt.NDArray[np.generic],
) -> Statistics:
    support = counts.astype(np.float64)
    centre = means.astype(np.float64) * mean_scales.astype(np.float64)[:, None]
    low_rank = factors.astype(np.float64) * factor_scales.astype(np.float64)
    low, high = bounds.astype(np.float64)
    rest = np.exp(low + diagonal.astype(np.float64) / 255.0 * (high - low))
    return Statistics(support, centre * support[:, None], low_rank @ low_rank.T + np.diag(rest))


def to_int8(values: Floats, axis: int) -> tuple[npt.NDArray[np.int8], Floats32]:
    """Return 8-bit numbers, and the scale of each row (axis=1) or column (axis=0) of a matrix."""
    scales = (np.abs(values).max(axis=axis, initial=0.0) / 127.0).astype(np.float32)
    wide = np.expand_dims(np.where(scales > 0, scales, 1.0).astype(np.float64), axis)
    return np.clip(np.rint(values / wide), -127, 127).astype(np.int8), scales


def _to_log_uint8(values: Floats, total: float) -> tuple[npt.NDArray[np.uint8], Floats32]:
    floor = max(total / max(len(values), 1) * 1e-4, 1e-9)
    logs = np.log(np.maximum(values, floor))
    low, high = np.float32(logs.min()), np.float32(logs.max())
    span = max(float(high) - float(low), 1e-12)
    codes = np.clip(np.rint((logs - float(low)) / span * 255.0), 0, 255).astype(np.uint8)
    return codes, np.array([low, max(high, low)], np.float32)
