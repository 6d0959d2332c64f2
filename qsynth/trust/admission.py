"""Check a packet in the order of cost, and refuse it with one word."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from qsynth.distill import Evidence
from qsynth.errors import ConfigError, PacketError
from qsynth.identity import node_id
from qsynth.packet import KIND_AUTHOR, OutcomePacket, Payload, decode_packet
from qsynth.trust.config import Checks
from qsynth.types import Fingerprint, Floats, Ints, NodeId, Task

MIN_DIMENSIONS = 4  # the least that `distill.d` allows
DAY_S = 86400.0
MOST_TTL_S = int(90 * DAY_S)  # that a packet holds, whatever it says
MOST_AHEAD_S = 400 * DAY_S  # by which a sequence number, which begins with the clock, may lead it
FINGERPRINT_STEPS = 1  # 8-bit steps that rounding may move a recomputed fingerprint


@dataclass(frozen=True)
class Admitted:
    """Hold an admitted packet, what it says, and its recomputed fingerprint."""

    packet: OutcomePacket
    evidence: Evidence
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Admission:
    """Admit packets of one task and encoder.

    read: gives what a payload says, with statistics `.features` and `.inputs` and, of a sum, its
    `.receipts`, or raises PacketError.
    sketch: gives the fingerprint of counts and sums.
    """

    config: Checks
    task: Task
    task_digest: bytes
    encoder_digest: bytes
    read: Callable[[Payload], Evidence]
    sketch: Callable[[Floats | Ints, Floats], Fingerprint]

    def welcomes(self, node: NodeId) -> bool:
        """Return whether a node is one to deal with."""
        if not self.config.allow and not self.config.deny:
            return True
        name = node.hex()
        return name not in self.config.deny and (not self.config.allow or name in self.config.allow)

    def admit(
        self,
        data: bytes,
        author: NodeId,
        after: int,
        claimed: Fingerprint | None,
        claimed_version: int,
        now_s: float,
        kinds: tuple[int, ...] = (KIND_AUTHOR,),
    ) -> Admitted:
        """Return the admitted packet.

        author: whom it was asked for.  after: the sequence number already held.  claimed: the
        fingerprint announced for `claimed_version`.  now_s: seconds since the epoch.  kinds: of
        packets that were asked for.
        Raises PacketError with the reason: size, header, signature, schema, author, denied, task,
        encoder, replay, expired, future, range, support or fingerprint.
        """
        packet = decode_packet(data)
        if packet.kind not in kinds:
            raise PacketError("header", f"kind {packet.kind} was not asked for")
        admitted = self._opened(self._checked(packet, author, after, now_s))
        own = admitted.fingerprint
        if claimed is not None and claimed_version == packet.sequence:
            if claimed.shape != own.shape:
                raise PacketError("fingerprint", f"{claimed.shape} instead of {own.shape}")
            apart = np.abs(claimed.astype(np.int64) - own.astype(np.int64))
            if int(apart.max()) > FINGERPRINT_STEPS:
                raise PacketError("fingerprint", f"{int(apart.max())} steps apart")
        return admitted

    def opened(self, data: bytes, now_s: float) -> Admitted:
        """Return a part of a sum: a packet of any author and age that is not expired.

        Raises PacketError as `admit` does.
        """
        packet = decode_packet(data)
        return self._opened(self._checked(packet, node_id(packet.author), -1, now_s))

    def _opened(self, packet: OutcomePacket) -> Admitted:
        self._check_shapes(packet.payload)
        evidence = self.read(packet.payload)
        counts = evidence.features.counts
        if len(counts) != self.task.counted:
            raise PacketError("schema", f"{len(counts)} classes")
        if (evidence.joint is None) != self.task.classified:
            raise PacketError("schema", f"not of a task of {self.task.kind}")
        told = 0 if evidence.joint is None else evidence.joint.dimensions
        if told and told - evidence.features.dimensions != self.task.classes:
            raise PacketError("schema", "of other targets")
        if evidence.features.dimensions < MIN_DIMENSIONS:
            raise PacketError("schema", f"{evidence.features.dimensions} features")
        size = math.prod(self.task.shape)
        if evidence.inputs is not None and evidence.inputs.dimensions != size:
            raise PacketError(
                "schema", f"inputs of {evidence.inputs.dimensions} values, not {size}"
            )
        total, authors = int(counts.sum()), 1
        if (evidence.receipts is None) != (packet.kind == KIND_AUTHOR):
            raise PacketError("schema", "receipts belong to sums, and sums have them")
        if evidence.receipts is not None:
            authors = len(evidence.receipts.leaves)
        if packet.support != total or not 0 < total <= authors * self.config.max_support:
            raise PacketError("support", f"claims {packet.support}, carries {total}")
        try:
            own = self.sketch(*evidence.sketched())
        except ConfigError as error:  # a metric of the user's own cannot take these numbers
            raise PacketError("range", str(error)) from None
        return Admitted(packet, evidence, own)

    def _check_shapes(self, payload: Payload) -> None:
        """Refuse sizes of another task before anything is made of them."""
        counts, inputs = payload.get("counts"), payload.get("input_means")
        if counts is None or counts.shape != (self.task.counted,):
            raise PacketError("schema", "counts of other classes")
        size = math.prod(self.task.shape)
        images = payload.get("mosaic_shape")
        if images is not None and tuple(int(n) for n in images.ravel()) != self.task.shape:
            raise PacketError("schema", "images of another shape")
        rows = (self.task.classes, np.count_nonzero(counts))
        if inputs is not None and inputs.shape not in [(count, size) for count in rows]:
            raise PacketError("schema", f"inputs of shape {inputs.shape}")

    def _checked(
        self, packet: OutcomePacket, author: NodeId, after: int, now_s: float
    ) -> OutcomePacket:
        """Return a packet whose header holds, and no longer than packets may."""
        if node_id(packet.author) != author:
            raise PacketError("author")
        if not self.welcomes(author):
            raise PacketError("denied")
        if packet.task != self.task_digest:
            raise PacketError("task")
        if packet.encoder != self.encoder_digest:
            raise PacketError("encoder")
        if packet.sequence <= after:
            raise PacketError("replay")
        packet = replace(packet, ttl_s=min(packet.ttl_s, MOST_TTL_S))
        if packet.expired(now_s):
            raise PacketError("expired")
        # An author counts from seconds, a sum from milliseconds.
        unit = 1.0 if packet.kind == KIND_AUTHOR else 1000.0
        ahead = packet.sequence > unit * (now_s + MOST_AHEAD_S)
        if ahead or packet.created_s > now_s + self.config.max_clock_skew_s:
            raise PacketError("future")
        return packet
