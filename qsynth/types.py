"""The words that every layer shares: ids, arrays, fingerprints and the task."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from qsynth.errors import ConfigError

NodeId: TypeAlias = bytes  # SHA-256 of a public key: 32 bytes
Floats: TypeAlias = npt.NDArray[np.float64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Bytes8: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Fingerprint: TypeAlias = npt.NDArray[np.int8]  # (fingerprint_dim,), a unit vector times 127

CLASSES, LABELS, VALUES = "classes", "labels", "values"  # what is told of an input: kinds of task
INVARIANCES = ("flip_horizontal", "flip_vertical", "shift")
NUMBER, DATE, CATEGORY = "number", "date", "category"  # of a table's columns: what they hold
OF_TABLES = ("columns", "label", "missing")  # fields of a task that other data leave empty
AXES = {"image": 3, "series": 2, "vector": 1, "tokens": 1}  # of one input, by layout


@dataclass(frozen=True)
class Column:
    """Say what features a column of a table becomes, in the same way at every site.

    kind: number (itself), date (days since 1970), or category (for each level whether it is that
    one).  indicated: whether one more feature says that it is missing; a missing number or date is
    taken for the feature's location, a missing category, or one without a level here, for none.
    """

    name: str
    kind: str = NUMBER
    levels: tuple[str, ...] = ()
    indicated: bool = False

    @property
    def width(self) -> int:
        """Return the number of features."""
        return (len(self.levels) if self.kind == CATEGORY else 1) + self.indicated

    def features(self) -> list[str]:
        """Return the name of each feature."""
        own = [f"{self.name}={level}" for level in self.levels]
        return (own if self.kind == CATEGORY else [self.name]) + (
            [f"{self.name} is missing"] if self.indicated else []
        )


@dataclass(frozen=True)
class Task:
    """Say what is learned, in the same words on every node.  Raises ConfigError where it cannot be.

    labels: ordered names; a class index means the same on every node.
    kind: what is told of an input: one of the classes, for each label whether it holds (labels,
    multi-label), or a number for each (values, regression).
    target_location, target_scale: of each value, fixed here and never fitted on a node.
    layout: image (channels, height, width), series (channels, length), vector (features,) or
    tokens (length,), whole numbers of a vocabulary.
    low, high: the range of inputs in `units`.  location, scale: of each feature of a vector,
    fixed here and never fitted on a node; empty means 0 and 1.
    invariances: changes that leave the label of an image what it is, as `INVARIANCES` names them.
    columns: of the table whose rows inputs are, in the order of their features.  label: the column
    that holds the class; labels and values stand in columns of their names.  missing: texts and
    numbers that stand for nothing, beside the usual ones.
    """

    name: str
    version: int
    labels: tuple[str, ...]
    layout: str
    shape: tuple[int, ...]
    units: str
    low: float
    high: float
    location: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    invariances: tuple[str, ...] = ()
    kind: str = CLASSES
    target_location: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    columns: tuple[Column, ...] = ()
    label: str = ""
    missing: tuple[str, ...] = ()

    def columns_at(self) -> Iterator[tuple[int, Column]]:
        """Return each column of a table with the place of its first feature."""
        at = 0
        for column in self.columns:
            yield at, column
            at += column.width

    @property
    def answers(self) -> tuple[str, ...]:
        """Return the columns of a table that hold what is learned."""
        return (self.label,) if self.classified else self.labels

    @property
    def classified(self) -> bool:
        """Return whether an input has one of the classes."""
        return self.kind == CLASSES

    @property
    def sketched(self) -> int:
        """Return the rows that a fingerprint is made of: classes, or two sides of each target."""
        return len(self.labels) * (1 if self.classified else 2)

    @property
    def counted(self) -> int:
        """Return the length of a packet's counts: by class, or of all samples together."""
        return len(self.labels) if self.classified else 1

    @property
    def classes(self) -> int:
        """Return the number of classes, or of targets."""
        return len(self.labels)

    def canonical(self) -> bytes:
        """Return the one JSON text that the hash is taken of."""
        return _canonical(self._told("kind", "target_location", "target_scale", *OF_TABLES))

    def _told(self, *later: str) -> dict[str, Any]:
        """Return all fields but those of `later` that say nothing: older hashes stay."""
        defaults = {f.name: f.default for f in fields(self) if f.name in later}
        return {k: v for k, v in asdict(self).items() if defaults.get(k, ...) != v}

    def __post_init__(self) -> None:
        """Take whole numbers for numbers: -5 and -5.0 must give one task, on every node."""
        for name in ("low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in ("location", "scale", "target_location", "target_scale"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        object.__setattr__(self, "labels", tuple(self.labels))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        for wrong, key, rule in self._rules():
            if wrong:
                value = getattr(self, key)
                shown = list(value) if isinstance(value, tuple) else value
                raise ConfigError(f"task.{key}={shown}: {rule}")

    def _rules(self) -> Iterator[tuple[bool, str, str]]:
        """Return whether each rule is broken, by which field, and what it says."""
        size, count = math.prod(self.shape), len(self.labels)
        kinds = (CLASSES, LABELS, VALUES)
        yield self.kind not in kinds, "kind", f"must be one of {', '.join(kinds)}"
        yield self.layout not in AXES, "layout", f"must be one of {', '.join(AXES)}"
        axes = AXES.get(self.layout)
        yield len(self.shape) != axes, "shape", f"must have {axes} numbers for {self.layout}"
        yield min(self.shape, default=0) < 1, "shape", "must be numbers above 0"
        text = all(isinstance(name, str) and name for name in self.labels)
        yield not text or len(set(self.labels)) < count, "labels", "must be names that differ"
        least = 2 if self.classified else 1
        yield count < least, "labels", f"must be {least} or more for kind={self.kind}"
        yield not math.isfinite(self.low), "low", "must be a finite number"
        yield not math.isfinite(self.high), "high", "must be a finite number"
        yield self.low >= self.high, "high", f"must be above task.low={self.low}"
        feature, target = (0, 1, size), (0, count)
        for key, lengths in (
            ("location", feature),
            ("scale", feature),
            ("target_location", target),
            ("target_scale", target),
        ):
            values, each = getattr(self, key), "target" if "target" in key else "feature"
            wanted = f"needs one number a {each}, {max(lengths)} in all"
            yield len(values) not in lengths, key, wanted
            yield not all(map(math.isfinite, values)), key, "must be finite numbers"
            yield "scale" in key and any(value <= 0.0 for value in values), key, "must be above 0"
        wide = sum(column.width for column in self.columns)
        wanted = f"make {wide} features, task.shape={list(self.shape)}"
        yield bool(self.columns) and self.shape != (wide,), "columns", wanted
        known = f"must be of {', '.join(INVARIANCES)}"
        yield not set(self.invariances) <= set(INVARIANCES), "invariances", known

    def digest(self) -> bytes:
        """Return the 16 bytes that stand for this task in every packet."""
        return hashlib.sha256(self.canonical()).digest()[:16]

    def field_digests(self) -> dict[str, bytes]:
        """Return 8 bytes for each field, so that a refusal can say which one differs."""
        values = self._told(*OF_TABLES)
        return {
            name: hashlib.sha256(_canonical(value)).digest()[:8] for name, value in values.items()
        }


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def config_digest(value: Any) -> bytes:
    """Return 16 bytes that stand for a JSON-like value."""
    return hashlib.sha256(_canonical(value)).digest()[:16]
