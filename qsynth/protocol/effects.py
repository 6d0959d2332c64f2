"""What an entry of the node wants done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from qsynth.dht import Contact
from qsynth.identity.vouchers import Vouchers
from qsynth.mesh import Answer, Send
from qsynth.protocol.journal import Entry
from qsynth.protocol.messages import Contacts, Found
from qsynth.types import NodeId


@dataclass
class Effects:
    """Hold messages to send, lines to record, and addresses to hang up on.

    done: what came of what the user has asked for, by its ticket.  entries: what must be on disk
    before any of the messages is sent.
    """

    sends: list[Send] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    forget: list[str] = field(default_factory=list)
    done: list[tuple[int, Any]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def record(self, event: str, **values: Any) -> None:
        """Add a line to the record."""
        self.records.append({"event": event, **values})


class Reply(Protocol):
    """What a service does with the answer to one of its requests."""

    def answered(self, now: float, answer: Answer, effects: Effects) -> None:
        """Take an answer, also one that refuses."""

    def failed(self, now: float, effects: Effects) -> None:
        """Note that no answer has come, or one of somebody else."""


@dataclass(frozen=True)
class RequestContext:
    """Why a node was asked: who it is, and for which lookup, or which request of a service.

    author: whose packet is fetched, where it is not the node's own.  withdrawn: the sequence number
    up to which one's own packets are taken back.
    """

    contact: Contact
    lookup: int | None
    reply: Reply | None = None
    author: Contact | None = None
    withdrawn: int | None = None


class Meeting(Protocol):
    """What tells who may be taken for a node of the mesh."""

    def met(self, node: NodeId) -> bool:
        """Return whether a node has once spoken itself."""

    def doubted(self, node: NodeId) -> bool:
        """Return whether a node is known by the word of liars alone."""

    def gone(self, node: NodeId) -> bool:
        """Return whether a node has not answered when it was last asked."""

    def valid(self, contact: Contact) -> bool:
        """Return whether a contact may be taken."""

    def heard(self, body: Contacts | Found) -> list[Contact]:
        """Take the contacts that a node has told of; return who is not dead."""


class Asker(Protocol):
    """What every part of a node needs that asks peers."""

    me: NodeId
    vouchers: Vouchers | None

    @property
    def membership(self) -> Meeting:
        """Return what tells who may be taken for a node."""

    def contact(self) -> Contact:
        """Return who the node is now."""

    def wall_s(self) -> float:
        """Return seconds since the epoch."""

    def ask(
        self,
        now: float,
        contact: Contact,
        kind: str,
        body: msgspec.Struct,
        effects: Effects,
        context: RequestContext | None = None,
    ) -> bool:
        """Ask a contact; return whether the request was sent."""
