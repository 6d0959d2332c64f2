"""The bodies of requests and answers between nodes."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from qsynth.dht import Contact
from qsynth.dht.record import Record
from qsynth.types import NodeId

HELLO, SIMILAR, NEAREST, FETCH, NOTICE = "hello", "similar", "nearest", "fetch", "notice"
SUM, PIECE, GOSSIP, KEEP = "sum", "piece", "gossip", "keep"
STORE, FIND, RELAY, WITHDRAW = "store", "find", "relay", "withdraw"
MAX_CONTACTS = 64

Body = TypeVar("Body")


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Ask to join: who I am, and 8 bytes of each field of my task."""

    contact: Contact
    task: dict[str, bytes]
    encoder: bytes


class Search(msgspec.Struct, frozen=True, array_like=True):
    """Ask for the contacts nearest to a fingerprint (similar, walk) or to an id (nearest).

    level: only contacts whose ids share so many digits with the asker's.  Of walk: a number drawn
    by the asker, for the contact that comes first, whoever it is.
    """

    contact: Contact
    target: bytes
    count: int
    level: int = 0


class Gossip(msgspec.Struct, frozen=True, array_like=True):
    """Tell whom I know for one of your rings, and ask for the like."""

    contact: Contact
    level: int
    contacts: list[Contact]


class Fetch(msgspec.Struct, frozen=True, array_like=True):
    """Ask for an author's packet newer than a sequence number."""

    contact: Contact
    author: bytes
    after: int


class SumQuery(msgspec.Struct, frozen=True, array_like=True):
    """Ask what a node has summed over authors that share the first `bits` bits of its id.

    leaves: authors at least.  have: digest of what the asker holds.  without: first 16 bytes of
    the ids of authors that must not be in it.  count: contacts wanted, whose ids are near the
    asker's.
    """

    contact: Contact
    bits: int
    leaves: int
    have: bytes
    without: list[bytes]
    count: int


class SumOffer(msgspec.Struct, frozen=True, array_like=True):
    """Answer sum: 16-byte digest, size and authors of a packet; size 0 where there is none.

    contacts: alike nodes whose ids are near the asker's.
    """

    contact: Contact
    digest: bytes
    size: int
    leaves: int
    contacts: list[Contact]


class PieceQuery(msgspec.Struct, frozen=True, array_like=True):
    """Ask for the bytes of a packet of this digest from an offset on."""

    contact: Contact
    digest: bytes
    offset: int


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Answer piece: size of the whole, and at most `distill.max_bytes` of it; 0 where not held.

    voucher: for the author of the packet, with its first piece, in a fleet with an authority.
    """

    size: int
    data: bytes
    voucher: bytes = b""


class Keep(msgspec.Struct, frozen=True, array_like=True):
    """Ask to keep one's own packet, so that it outlives its author."""

    contact: Contact
    data: bytes


class StoreRequest(msgspec.Struct, frozen=True, array_like=True):
    """Ask to keep a record."""

    contact: Contact
    record: Record


class Find(msgspec.Struct, frozen=True, array_like=True):
    """Ask for the records under a key; author: of this public key alone, where it is not empty."""

    contact: Contact
    key: bytes
    author: bytes = b""


class Found(msgspec.Struct, frozen=True, array_like=True):
    """Answer find: the records, and the contacts nearest to the key."""

    contact: Contact
    contacts: list[Contact]
    records: list[Record]


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """Tell who I am now; the answer tells the same of the other."""

    contact: Contact


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """Hold a message that somebody carries: whose it is, and a signature for one receiver alone.

    at_ms: when it was sealed, milliseconds since the epoch.
    """

    author: bytes
    payload: bytes
    signature: bytes
    at_ms: int = 0


class Relay(msgspec.Struct, frozen=True, array_like=True):
    """Ask to be reached through the receiver; asked again before the promise runs out.

    sealed: holds the time in 8 bytes, milliseconds since the epoch: not to be said twice.
    """

    contact: Contact
    sealed: Sealed


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """Ask a relay to carry a message to a node, or back to whoever has a ticket.

    On its way to the receiver the ticket is what its answer is sent back under.
    """

    node: NodeId
    ticket: bytes
    sealed: Sealed


class Withdrawal(msgspec.Struct, frozen=True, array_like=True):
    """Say that an author takes back its packets up to a sequence number, in its own signature."""

    author: bytes
    sequence: int
    signature: bytes


class Withdraw(msgspec.Struct, frozen=True, array_like=True):
    """Ask to obey a withdrawal; the answer, a notice, confirms it."""

    contact: Contact
    withdrawal: Withdrawal


class Contacts(msgspec.Struct, frozen=True, array_like=True):
    """Answer hello, similar, nearest, gossip and store: who I am, and whom I know.

    orphans: authors that are gone, whose packets I keep: of similar.
    """

    contact: Contact
    contacts: list[Contact]
    orphans: list[Contact] = []


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """Answer fetch: a packet's bytes, empty where there is none newer."""

    data: bytes


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """Answer anything with why not."""

    reason: str


def pack(body: object) -> bytes:
    """Return a body's bytes."""
    return msgspec.msgpack.encode(body)


def unpack(data: bytes, kind: type[Body]) -> Body | None:
    """Return the body that `data` holds, or None where it is malformed."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
