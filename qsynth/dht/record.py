"""A record: a value that its author has signed, kept under a key by the nodes nearest to it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

import msgspec

from qsynth.dht.contact import ID_BYTES
from qsynth.identity import Identity, verify
from qsynth.identity.keys import KEY_BYTES, SIGNATURE_BYTES

MAX_VALUE = 2048
MAX_VOUCHER = 256
LONGEST_MS = 7 * 24 * 3600 * 1000  # of a ttl: what nobody renews is forgotten in a week
SKEW_MS = 10 * 60 * 1000  # by which clocks may differ
MAGIC = b"qsynth-record-1"
HEADER = struct.Struct("<15s32s32sQQ")


class Record(msgspec.Struct, frozen=True, array_like=True):
    """Hold a value under a key, one for each author.

    key: 32 bytes.  author: public key.  sequence: milliseconds since the epoch, or less: of an
    author's records under a key the highest is the newest.  expires_ms: since the epoch.
    signature: Ed25519, over all of these.  voucher: of the fleet's authority for the author,
    where there is an authority; not signed.
    """

    key: bytes
    author: bytes
    sequence: int
    expires_ms: int
    value: bytes
    signature: bytes
    voucher: bytes = b""

    def signed(self) -> bytes:
        """Return the bytes that the signature is over."""
        header = HEADER.pack(MAGIC, self.key, self.author, self.sequence, self.expires_ms)
        return header + self.value

    def flaw(self, now_ms: float) -> str | None:
        """Return why it is not to be kept, the cheapest check first; None where it is."""
        if (
            len(self.key) != ID_BYTES
            or len(self.author) != KEY_BYTES
            or len(self.signature) != SIGNATURE_BYTES
            or not 0 <= self.sequence < 2**63
            or not 0 <= self.expires_ms < 2**63
            or len(self.voucher) > MAX_VOUCHER
        ):
            return "malformed"
        if len(self.value) > MAX_VALUE:
            return "size"
        if self.expires_ms <= now_ms:
            return "expired"
        if self.expires_ms - now_ms > LONGEST_MS + SKEW_MS:
            return "ttl"
        if self.sequence > now_ms + SKEW_MS:
            return "future"
        return None if verify(self.author, self.signed(), self.signature) else "signature"


def record_key(name: str | bytes) -> bytes:
    """Return the key of a name: its SHA-256, which spreads names over all ids."""
    return hashlib.sha256(name.encode() if isinstance(name, str) else name).digest()


def sign_record(
    identity: Identity,
    key: bytes,
    value: bytes,
    sequence: int,
    expires_ms: int,
    voucher: bytes = b"",
) -> Record:
    """Return a signed record.  Raises ValueError where it could not be kept."""
    if not isinstance(key, bytes) or not isinstance(value, bytes):
        raise ValueError("a key and a value are bytes; record_key makes a key of a name")
    if len(key) != ID_BYTES:
        raise ValueError(f"a key has {ID_BYTES} bytes, not {len(key)}")
    if len(value) > MAX_VALUE:
        raise ValueError(f"a value has at most {MAX_VALUE} bytes, not {len(value)}")
    unsigned = Record(key, identity.public_key, sequence, expires_ms, value, b"", voucher)
    return msgspec.structs.replace(unsigned, signature=identity.sign(unsigned.signed()))


def merge(held: Iterable[Record]) -> list[Record]:
    """Return the newest record of each author, of what several holders have, by author.

    Of two with one sequence number, which an honest author never makes, the larger value stands,
    so that all merge alike.
    """
    newest: dict[bytes, Record] = {}
    for record in held:
        other = newest.get(record.author)
        if other is None or newer(record, other):
            newest[record.author] = record
    return sorted(newest.values(), key=lambda r: r.author)  # not by what an author may choose


def newer(record: Record, other: Record) -> bool:
    """Return whether a record replaces another of the same author and key."""
    return (record.sequence, record.expires_ms, record.value) > (
        other.sequence,
        other.expires_ms,
        other.value,
    )
