"""Packets by digest, piece by piece: none is larger than a message may be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from qsynth.dht import Contact, Table
from qsynth.identity import Identity
from qsynth.mesh import Answer
from qsynth.packet import MAX_BYTES, OutcomePacket, packet_digest
from qsynth.protocol import messages
from qsynth.protocol.effects import Asker, Effects, RequestContext
from qsynth.trust import Admission, Admitted
from qsynth.types import Fingerprint, NodeId


class SumNode(Asker, Protocol):
    """What sums need of a node."""

    identity: Identity
    admission: Admission
    own_packet: tuple[OutcomePacket, bytes] | None
    held: dict[NodeId, Admitted]
    counts: Counter[str]
    table: Table
    query: Fingerprint
    same: float


LEAST_PIECE = 512  # the least that distill.max_bytes can be


@dataclass
class Download:
    """Hold what has come of a packet so far.

    purpose: what it is for.  size: said beforehand, or 0 until the first piece tells.  voucher: of
    the authority for the packet's author, as whoever gives the packet says.
    """

    digest: bytes
    contact: Contact
    purpose: object
    size: int = 0
    data: bytearray = field(default_factory=bytearray)
    failed: bool = False
    voucher: bytes = b""


@dataclass(frozen=True)
class Piece:
    """A request for the next piece of a download."""

    downloads: Downloads
    download: Download

    def answered(self, now: float, answer: Answer, effects: Effects) -> None:
        """Take the piece, or a refusal."""
        done = self.downloads.answered(now, answer, self.download, effects)
        if done is not None:
            self.downloads.ended(now, done, effects)

    def failed(self, now: float, effects: Effects) -> None:
        """Note that none has come."""
        self.download.failed = True
        self.downloads.ended(now, self.download, effects)


class Downloads:
    """Fetch packets in pieces, and serve them so.

    piece_bytes: of a piece at most.  ended: called with a download that has come whole, or failed.
    """

    def __init__(
        self, node: SumNode, piece_bytes: int, ended: Callable[[float, Download, Effects], None]
    ) -> None:
        self.node, self.piece_bytes, self.ended = node, piece_bytes, ended

    def begin(self, now: float, download: Download, effects: Effects) -> bool:
        """Ask for the next piece; return whether the request was sent."""
        if download.size > MAX_BYTES or len(download.digest) != 16:
            return False
        body = messages.PieceQuery(self.node.contact(), download.digest, len(download.data))
        context = RequestContext(download.contact, None, Piece(self, download))
        return self.node.ask(now, download.contact, messages.PIECE, body, effects, context)

    def answered(
        self, now: float, answer: Answer, download: Download, effects: Effects
    ) -> Download | None:
        """Take a piece; return the download when it has ended, well or not."""
        piece = None if answer.refused else messages.unpack(answer.body, messages.Piece)
        short = piece is None or len(download.data) + len(piece.data) < min(
            piece.size, len(download.data) + LEAST_PIECE
        )  # a packet in crumbs would keep us waiting
        if piece is None or short or not 0 < piece.size <= MAX_BYTES:
            download.failed = True
            return download
        download.size = download.size or piece.size
        download.voucher = download.voucher or piece.voucher
        download.data += piece.data
        if len(download.data) < download.size:
            download.failed = not self.begin(now, download, effects)
            return download if download.failed else None
        whole = len(download.data) == download.size
        download.failed = not whole or packet_digest(bytes(download.data)) != download.digest
        return download

    def piece(self, query: messages.PieceQuery, data: bytes) -> messages.Piece:
        """Return a piece of a packet's bytes."""
        if not 0 <= query.offset < len(data):
            return messages.Piece(0, b"")
        return messages.Piece(len(data), data[query.offset : query.offset + self.piece_bytes])
