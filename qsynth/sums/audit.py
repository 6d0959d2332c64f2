"""Audits: fetch the parts of a received sum, add them again, and go on with one of them.

A sum is signed by who made it, and names its parts by digest; each part is signed too.  So a sum
that its parts do not give convicts its signer.  An audit follows one random way down to a leaf, as
far as the makers on it are known: who passes a false sum on is not believed, but not convicted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from qsynth.dht import Contact
from qsynth.distill import Part, agrees
from qsynth.distill.receipts import leaf
from qsynth.errors import PacketError
from qsynth.identity import node_id
from qsynth.packet import OutcomePacket
from qsynth.protocol.effects import Effects
from qsynth.sums.builder import ends_s
from qsynth.sums.downloads import Download, Downloads, SumNode
from qsynth.types import NodeId

LATE_S = 2.0  # a sum may outlive its parts by the rounding of whole seconds
FORGED = ("size", "header", "signature", "schema", "range", "task", "encoder")


@dataclass
class Audit:
    """Hold the parts of a sum that have come so far.

    contact: who made it.  depth: of the sum that was received.  root: that one's digest.
    """

    part: Part
    packet: OutcomePacket
    contact: Contact
    depth: int
    root: bytes = b""
    level: int = 0
    got: list[tuple[Part, OutcomePacket]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = self.root or self.part.digest

    @property
    def parts(self) -> tuple[bytes, ...]:
        """Return the digests of the parts."""
        receipts = self.part.evidence.receipts
        return receipts.parts if receipts else ()


class Audits:
    """Carry out the audits of one node."""

    def __init__(self, node: SumNode, downloads: Downloads) -> None:
        self.node, self.downloads = node, downloads
        secret = hashlib.sha256(node.identity.sign(b"descents")).digest()
        self._rng = np.random.default_rng(list(secret[:8]))

    def begin(self, now: float, audit: Audit, effects: Effects) -> None:
        """Fetch the first part."""
        if not self._next(now, audit, effects):
            self.node.counts["audit_not_sent"] += 1

    def ended(
        self,
        now: float,
        audit: Audit,
        download: Download,
        members: Mapping[NodeId, Contact],
        effects: Effects,
    ) -> NodeId | None:
        """Take a part that has come; return who is convicted, empty if unanswered, else None."""
        if download.failed:
            return b""
        effects.record("fetch", author=audit.contact.id.hex(), bytes=len(download.data), audit=True)
        try:
            opened = self.node.admission.opened(bytes(download.data), self.node.wall_s())
        except PacketError as error:
            # Clocks and limits differ between nodes: that convicts nobody.
            return audit.contact.id if error.reason in FORGED else b""
        author, member = node_id(opened.packet.author), self.node.vouchers
        if member and not member.vouches(author, download.voucher, self.node.wall_s()):
            self.node.counts["unproved_leaf"] += 1
            return b""
        receipts = opened.evidence.receipts
        leaves = receipts.leaves if receipts else (leaf(author, download.digest),)
        audit.got.append((Part(download.digest, leaves, opened.evidence), opened.packet))
        if len(audit.got) < len(audit.parts):
            return None if self._next(now, audit, effects) else b""
        ends = min(ends_s(packet) for _, packet in audit.got)
        longer = ends_s(audit.packet) > ends + LATE_S
        if longer or not agrees(audit.packet.payload, [part for part, _ in audit.got]):
            return audit.contact.id
        self.node.counts["audited_sums"] += 1
        self._descend(now, audit, members, effects)
        return None

    def _next(self, now: float, audit: Audit, effects: Effects) -> bool:
        download = Download(audit.parts[len(audit.got)], audit.contact, audit)
        return self.downloads.begin(now, download, effects)

    def _descend(
        self, now: float, audit: Audit, members: Mapping[NodeId, Contact], effects: Effects
    ) -> None:
        sums = [(part, packet) for part, packet in audit.got if part.evidence.receipts]
        if not sums:
            return
        part, packet = sums[int(self._rng.integers(len(sums)))]
        contact = members.get(node_id(packet.author))
        if contact is not None and contact.id != self.node.me:
            below = Audit(part, packet, contact, audit.depth, audit.root, audit.level + 1)
            self.begin(now, below, effects)
