"""The bodies of requests and answers between nodes."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from qsynth.dht import Contact

HELLO, SIMILAR, NEAREST, FETCH, NOTICE = "hello", "similar", "nearest", "fetch", "notice"
MAX_CONTACTS = 64

Body = TypeVar("Body")


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """Ask to join: who I am, and 8 bytes of each field of my task."""

    contact: Contact
    task: dict[str, bytes]
    encoder: bytes


class Search(msgspec.Struct, frozen=True, array_like=True):
    """Ask for the contacts nearest to a fingerprint (similar) or to an id (nearest)."""

    contact: Contact
    target: bytes
    count: int


class Fetch(msgspec.Struct, frozen=True, array_like=True):
    """Ask for an author's packet newer than a sequence number."""

    contact: Contact
    author: bytes
    after: int


class Notice(msgspec.Struct, frozen=True, array_like=True):
    """Tell who I am now; the answer tells the same of the other."""

    contact: Contact


class Contacts(msgspec.Struct, frozen=True, array_like=True):
    """Answer hello, similar and nearest: who I am, and whom I know."""

    contact: Contact
    contacts: list[Contact]


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
