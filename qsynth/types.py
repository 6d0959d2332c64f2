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

INVARIANCES = ("flip_horizontal", "flip_vertical", "shift")


@dataclass(frozen=True)
class Task:
    """Say what is learned, in the same words on every node.

    labels: ordered names; a class index means the same on every node.
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

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return len(self.labels)

    def canonical(self) -> bytes:
        """Return the one JSON text that the hash is taken of."""
        return _canonical(asdict(self))

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
