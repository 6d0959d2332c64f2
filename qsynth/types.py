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
Fingerprint: TypeAlias = npt.NDArray[np.int8]  # (fingerprint_dim,), a unit vector times 127

CLASSES, LABELS, VALUES = "classes", "labels", "values"  # what is told of an input: kinds of task
INVARIANCES = ("flip_horizontal", "flip_vertical", "shift")
AXES = {"image": 3, "series": 2, "vector": 1, "tokens": 1}  # of one input, by layout


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
        # What came later is left out where it says nothing: older hashes stay what they are.
        later = ("kind", "target_location", "target_scale")
        defaults = {f.name: f.default for f in fields(self) if f.name in later}
        values = asdict(self)
        return _canonical({k: v for k, v in values.items() if defaults.get(k, ...) != v})

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
        known = f"must be of {', '.join(INVARIANCES)}"
        yield not set(self.invariances) <= set(INVARIANCES), "invariances", known

    def digest(self) -> bytes:
        """Return the 16 bytes that stand for this task in every packet."""
        return hashlib.sha256(self.canonical()).digest()[:16]

    def field_digests(self) -> dict[str, bytes]:
        """Return 8 bytes for each field, so that a refusal can say which one differs."""
        values = asdict(self)
        return {
            f.name: hashlib.sha256(_canonical(values[f.name])).digest()[:8] for f in fields(self)
        }


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def config_digest(value: Any) -> bytes:
    """Return 16 bytes that stand for a JSON-like value."""
    return hashlib.sha256(_canonical(value)).digest()[:16]
