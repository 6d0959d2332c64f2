"""The rule `analytic`: class counts, class means and within-class scatter, in 8-bit numbers.

It says what the author's *data* say, whatever its model: a node that never trained sends the
same.  Low-rank factors and an exact diagonal stand for the scatter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from qsynth.distill.config import MOST_BYTES, Analytic
from qsynth.distill.means import MAX_FEATURES, MAX_SUPPORT, code_means, decode_means, mean_shapes
from qsynth.distill.subset import ROWS, most_told, narrow, widen
from qsynth.errors import ConfigError, PacketError
from qsynth.packet import Payload, Statistics, class_statistics, packet_bytes
from qsynth.types import Floats, Floats32, Ints

MIN_AUTO, MAX_AUTO = 8, 256


def dimensions(
    config: Analytic, samples: int, encoder_dimensions: int, classes: int, input_size: int
) -> int:
    """Return d: the setting; `auto`: half the samples, `fit`: all features; less by max_bytes.

    Half the samples: a larger d tells more of who is in the data than of the data.
    """
    if config.d not in ("auto", "fit"):
        d = min(int(config.d), encoder_dimensions)
        return d - d % 2 if config.coding == "means" else d
    d = encoder_dimensions
    if config.d == "auto":
        d = min(max(samples // 2, MIN_AUTO), MAX_AUTO, d)
    if config.coding == "means":
        d += d % 2  # two numbers a byte
    rows = _rows(config, samples, classes)
    while d > MIN_AUTO and packet_size(config, d, classes, input_size, rows) > config.max_bytes:
        d -= 2 if config.coding == "means" else 1
    return d


def distil(
    config: Analytic,
    d: int,
    features: Floats32,
    inputs: Floats32 | None,
    labels: Ints,
    classes: int,
    copies: Sequence[Floats32] = (),
) -> Payload:
    """Return the payload of a packet: the author's own evidence, and nothing else.

    d: features sent.  features: (n, D) of the encoder, D >= d.  inputs: (n, ...) or None.
    labels: (n,).  copies: features of the same samples, changed in ways that leave their labels.
    Classes with fewer than `min_support` samples are left out altogether; so are, where not all
    classes fit into `max_bytes`, those with fewest.
    """
    input_size = 0 if inputs is None else math.prod(inputs.shape[1:])
    most = most_classes(config, d, classes, input_size)
    counts = np.bincount(labels, minlength=classes)
    kept = np.isin(labels, most_told(counts, config.min_support, most))
    labels = labels[kept]
    views = np.concatenate([view[kept, :d] for view in (features, *copies)])
    many = 1 + len(copies)
    statistics = class_statistics(views, np.tile(labels, many), classes, many)
    whole = packet_size(config, d, classes, input_size) <= config.max_bytes
    if config.coding == "means":
        return code_means(statistics) if whole else narrow(code_means(statistics))
    payload = code_statistics(statistics, _rank(config), "")
    if config.input_rank and inputs is not None:
        flat = inputs[kept].reshape(len(labels), input_size)
        payload |= code_statistics(
            class_statistics(flat, labels, classes), config.input_rank, "input_"
        )
        del payload["input_counts"]  # the same as `counts`
    return payload if whole else narrow(payload)


def _rows(config: Analytic, samples: int, classes: int) -> int:
    """Return how many classes a node of so many samples can tell of."""
    return min(classes, samples // config.min_support)


def most_classes(config: Analytic, d: int, classes: int, input_size: int) -> int:
    """Return how many classes a packet can tell of: all, or as many as `max_bytes` holds."""
    if packet_size(config, d, classes, input_size) <= config.max_bytes:
        return classes
    base = packet_size(config, d, classes, input_size, 0)
    row = packet_size(config, d, classes, input_size, 1) - base
    return max(min((config.max_bytes - base) // row, classes), 0)


def _rank(config: Analytic) -> int:
    return config.rank if config.coding == "low_rank" else 0


def packet_size(
    config: Analytic, d: int, classes: int, input_size: int, rows: int | None = None
) -> int:
    """Return the bytes of a packet with these settings, signature included.

    rows: classes that it tells of; None: all.
    """
    if config.coding == "means":
        return _bytes(mean_shapes(classes, d), rows)
    shapes = statistics_shapes(classes, d, min(_rank(config), d), "")
    if config.input_rank:
        shapes |= statistics_shapes(
            classes, input_size, min(config.input_rank, input_size), "input_"
        )
        del shapes["input_counts"]
    return _bytes(shapes, rows)


def _bytes(shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]], rows: int | None) -> int:
    arrays = {}
    for key, (shape, dtype) in shapes.items():
        narrowed = (rows, *shape[1:]) if rows is not None and key in ROWS else shape
        arrays[key] = np.zeros(narrowed, dtype)
    return packet_bytes(arrays)


def check_size(
    config: Analytic, d: int, classes: int, input_size: int, samples: int | None = None
) -> int:
    """Return the packet's bytes.  Raises ConfigError that names a setting that would fit.

    samples: of the largest node, which bound how many classes it can tell of; None: unknown.
    Where `d` is left to the rule, it is enough that the packet has room for one class.
    """
    needed = packet_size(config, d, classes, input_size)
    if needed <= config.max_bytes:
        return needed
    left = config.d in ("auto", "fit") and samples is not None
    rows = classes if samples is None else _rows(config, samples, classes)
    rows = max(min(rows, most_classes(config, d, classes, input_size)) if left else rows, 1)
    told = packet_size(config, d, classes, input_size, rows)
    if told <= config.max_bytes:
        return told
    inputs = f", statistics of {input_size} inputs" if config.input_rank else ""
    raise ConfigError(
        f"distill.max_bytes={config.max_bytes}: d={d}, rank={config.rank} and {classes} classes"
        f"{inputs} need {needed} bytes; {_fitting(config, d, classes, input_size)}"
    )


def _fitting(config: Analytic, d: int, classes: int, input_size: int) -> str:
    """Return what would make a packet fit: with less of what costs most, first."""

    def size_of(other: Analytic, features: int = d) -> int:
        return packet_size(other, features, classes, input_size)

    bare, words = replace(config, input_rank=None), ""
    costs_most = size_of(config) - size_of(bare) > size_of(bare)
    if config.input_rank and (costs_most or size_of(bare) <= config.max_bytes):
        config, words = bare, "synthesis.teach.inputs=own_mix"
        if size_of(config) <= config.max_bytes:
            return f"{words} (no statistics of inputs) would fit"
    step = 2 if config.coding == "means" else 1
    tries = [(f"distill.d={n}", config, n) for n in range(d - step, 3, -step)]
    tries += [(f"distill.rank={n}", replace(config, rank=n), d) for n in range(config.rank)[::-1]]
    tries += [("distill.coding=diagonal", replace(config, coding="diagonal"), d)]
    for setting, other, features in tries:
        if size_of(other, features) <= config.max_bytes:
            return f"{words} {setting} would fit".strip()
    needed = 2 ** math.ceil(math.log2(size_of(config)))
    if needed <= MOST_BYTES:
        return f"{words} distill.max_bytes={needed} would fit".strip()
    return "no setting makes so many classes fit; have fewer, or fewer features (distill.d=auto)"


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


def statistics_shapes(
    classes: int, d: int, rank: int, prefix: str
) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
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
