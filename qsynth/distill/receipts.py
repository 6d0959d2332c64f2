"""What a sum says of where it is from: a receipt of each author, and the packets it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qsynth.errors import PacketError
from qsynth.packet import Payload
from qsynth.types import NodeId

AUTHOR_BYTES, DIGEST_BYTES, PART_BYTES = 16, 8, 16
LEAF_BYTES = AUTHOR_BYTES + DIGEST_BYTES
MAX_LEAVES = 512
MAX_PARTS = 25  # one for each bit of an id that sums go by, and one's own


@dataclass(frozen=True)
class Receipts:
    """Hold the leaves and parts of a sum.

    leaves: 24 bytes each, sorted: the first 16 of an author's id, and 8 of the digest of the
    packet that the author has signed.  parts: 16-byte digests of the packets that were added.
    loss: bound of the relative error of the scatter, all truncations on the way together.
    """

    leaves: tuple[bytes, ...]
    parts: tuple[bytes, ...]
    loss: float


def leaf(author: NodeId, digest: bytes) -> bytes:
    """Return the receipt of an author's packet.  digest: its 16 bytes."""
    return author[:AUTHOR_BYTES] + digest[:DIGEST_BYTES]


def leaf_author(receipt: bytes) -> bytes:
    """Return the first 16 bytes of the id of a receipt's author."""
    return receipt[:AUTHOR_BYTES]


def disjoint(groups: Sequence[Sequence[bytes]]) -> bool:
    """Return whether no author has a receipt in two of these groups, nor two in one."""
    authors = [leaf_author(receipt) for group in groups for receipt in group]
    return len(set(authors)) == len(authors)


def code_receipts(receipts: Receipts) -> Payload:
    """Return the arrays of receipts."""
    return {
        "leaves": _rows(receipts.leaves, LEAF_BYTES),
        "parts": _rows(receipts.parts, PART_BYTES),
        "loss": np.array([receipts.loss], np.float32),
    }


def decode_receipts(payload: Mapping[str, npt.NDArray[np.generic]]) -> Receipts:
    """Return the receipts of a payload.  Raises PacketError with reason `schema` or `range`."""
    try:
        leaves, parts, loss = payload["leaves"], payload["parts"], payload["loss"]
    except KeyError as missing:
        raise PacketError("schema", f"no array {missing}") from None
    for name, array, width, most in (
        ("leaves", leaves, LEAF_BYTES, MAX_LEAVES),
        ("parts", parts, PART_BYTES, MAX_PARTS),
    ):
        if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width:
            raise PacketError("schema", f"{name} must be uint8 of {width} a row")
        if not 2 <= len(array) <= most:
            raise PacketError("schema", f"{len(array)} {name}")
    if loss.dtype != np.float32 or loss.shape != (1,):
        raise PacketError("schema", "loss must be one number")
    if not 0.0 <= loss[0] <= 1e6:
        raise PacketError("range", "loss out of range")
    receipts = tuple(row.tobytes() for row in leaves)
    if list(receipts) != sorted(receipts) or not disjoint([receipts]):
        raise PacketError("schema", "leaves must be sorted, one of each author")
    return Receipts(receipts, tuple(row.tobytes() for row in parts), float(loss[0]))


def _rows(items: Sequence[bytes], width: int) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(items), np.uint8).reshape(len(items), width)
