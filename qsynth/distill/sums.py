"""Sums of packets: statistics add, so the evidence of many authors fits into one packet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.distill.coding import code_statistics, payload_statistics
from qsynth.distill.evidence import Evidence, read_evidence
from qsynth.distill.means import code_means
from qsynth.distill.receipts import Receipts, code_receipts, disjoint
from qsynth.distill.targets import code_joint
from qsynth.errors import PacketError, ShapeError
from qsynth.packet import MAX_BYTES, Payload, Statistics, merge, packet_bytes

TOLERANCE = 0.02  # relative, of a sum that another machine adds again: eigenvectors round anew


@dataclass(frozen=True)
class Part:
    """Hold a packet that may go into a sum.

    digest: its 16 bytes.  leaves: receipts of the authors behind it, one if it is no sum.
    """

    digest: bytes
    leaves: tuple[bytes, ...]
    evidence: Evidence

    @property
    def loss(self) -> float:
        """Return the bound of the scatter's relative error by truncation so far."""
        return self.evidence.receipts.loss if self.evidence.receipts else 0.0


def add(rank: int, input_rank: int, parts: Sequence[Part]) -> Payload:
    """Return the payload of the sum of two or more parts, added in the order of their digests.

    rank: low-rank factors of its scatter, fewer where the packet would not fit 32 KiB.
    input_rank: the same for inputs, where every part says something of them.
    Parts of different d add at the smallest; the sum of packets of means alone has means alone.
    Raises ShapeError where an author is behind two parts: its evidence would count twice.
    """
    parts = sorted(parts, key=lambda part: part.digest)
    if len(parts) < 2 or not disjoint([part.leaves for part in parts]):
        raise ShapeError("a sum needs two parts or more, and no author in two of them")
    leaves = tuple(sorted(receipt for part in parts for receipt in part.leaves))
    digests = tuple(part.digest for part in parts)
    merged = merge([part.evidence.features for part in parts])
    bare = any(not part.evidence.features.scatter.any() for part in parts)
    joints = [part.evidence.joint for part in parts if part.evidence.joint is not None]
    joint = merge(joints) if len(joints) == len(parts) else None
    sent = [part.evidence.inputs for part in parts]
    inputs = None if None in sent else merge([part for part in sent if part is not None])
    tried = min(rank, merged.dimensions)
    while True:
        payload = _code(merged, inputs, joint, tried, min(input_rank, tried), bare)
        supports = np.array([part.evidence.features.counts.sum() for part in parts])
        carried = float(supports @ [part.loss for part in parts] / max(supports.sum(), 1.0))
        loss = 0.0 if bare else carried + _error(payload, merged)
        payload |= code_receipts(Receipts(leaves, digests, loss))
        excess = packet_bytes(payload) - MAX_BYTES
        if excess <= 0 or tried == 0:
            return payload
        # A factor takes a byte for each feature, and its scale.
        tried = max(0, tried - max(1, -(-excess // (merged.dimensions + 4))))


def agrees(claimed: Payload, parts: Sequence[Part]) -> bool:
    """Return whether a sum is what its parts give, within what another machine's rounding moves."""
    rank, input_rank = (
        claimed[name].shape[1] if name in claimed else 0 for name in ("factors", "input_factors")
    )
    said = read_evidence(claimed)
    leaves = sorted(receipt for part in parts for receipt in part.leaves)
    if said.receipts is None or list(said.receipts.leaves) != leaves:
        return False
    try:
        again = read_evidence(add(rank, input_rank, parts))
    except (ShapeError, PacketError):
        return False
    for name in ("features", "inputs", "joint"):
        one, other = getattr(said, name), getattr(again, name)
        if (one is None) != (other is None) or (one is not None and not _alike(one, other)):
            return False
    return again.receipts is not None and said.receipts.parts == again.receipts.parts


def _code(
    merged: Statistics,
    inputs: Statistics | None,
    joint: Statistics | None,
    rank: int,
    input_rank: int,
    bare: bool,
) -> Payload:
    if bare:
        return code_means(merged)
    if joint is not None:
        return code_joint(joint, joint.dimensions - merged.dimensions, rank)
    payload = code_statistics(merged, rank, "")
    if inputs is not None:
        payload |= code_statistics(inputs, input_rank, "input_")
        del payload["input_counts"]
    return payload


def _error(payload: Payload, merged: Statistics) -> float:
    """Return the relative error of a coded scatter, in the Frobenius norm."""
    coded = payload_statistics(payload).scatter
    size = max(float(np.linalg.norm(merged.scatter)), 1e-9)
    return float(np.linalg.norm(coded - merged.scatter)) / size


def _alike(one: Statistics, other: Statistics) -> bool:
    if one.sums.shape != other.sums.shape or not np.array_equal(one.counts, other.counts):
        return False
    pairs = ((one.sums, other.sums), (one.scatter, other.scatter))
    return all(
        float(np.linalg.norm(a - b)) <= TOLERANCE * max(float(np.linalg.norm(b)), 1e-9)
        for a, b in pairs
    )
