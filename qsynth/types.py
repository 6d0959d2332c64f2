"""The words that every layer shares: ids, arrays, fingerprints and the task."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

NodeId: TypeAlias = bytes  # SHA-256 of a public key: 32 bytes
Floats: TypeAlias = npt.NDArray[np.float64]
Floats32: TypeAlias = npt.NDArray[np.float32]
Bytes8: TypeAlias = npt.NDArray[np.uint8]
Ints: TypeAlias = npt.NDArray[np.int64]
Fingerprint: TypeAlias = npt.NDArray[np.int8]  # (fingerprint_dim,), a unit vector times 127

CLASSES, LABELS, VALUES = "classes", "labels", "values"  # what is told of an input: kinds of task
INVARIANCES = ("flip_horizontal", "flip_vertical", "shift")


@dataclass(frozen=True)
class Task:
    """Say what is learned, in the same words on every node.

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
