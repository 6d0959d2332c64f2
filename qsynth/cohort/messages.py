"""The bodies of requests and answers of a cohort, and what its members sign."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

import msgspec

from qsynth.dht import Contact
from qsynth.identity import Identity, node_id, verify
from qsynth.types import NodeId

BEGIN, ADD, AGREE = "cohort_begin", "cohort_add", "cohort_agree"
OPEN, SHOW, END = "cohort_open", "cohort_show", "cohort_end"
MOST = 64  # members of a cohort


class Offer(msgspec.Struct, frozen=True, array_like=True):
    """Say that a node would join a cohort, until a time.

    author: its public key.  key: X25519, for one cohort alone.  expires_ms: since the epoch.
    signature: Ed25519.  voucher: of the fleet's authority for the author, where there is one.
    """

    author: bytes
    key: bytes
    expires_ms: int
    signature: bytes = b""
    voucher: bytes = b""

    @property
    def id(self) -> NodeId:
        """Return the author's id."""
        return node_id(self.author)

    def signed(self, situation: bytes) -> bytes:
        """Return the bytes that the signature is over.  situation: the key it is stored under."""
        return digest(
            b"offer", situation, self.author, self.key, self.expires_ms.to_bytes(8, "big")
        )


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Hold what is stored under the key of a situation: an offer, and where its author is."""

    offer: Offer
    contact: Contact


class Begin(msgspec.Struct, frozen=True, array_like=True):
    """Ask to take part in a cohort.  session: 16 bytes.  roster: all that are asked."""

    contact: Contact
    session: bytes
    roster: list[Offer]


class Begun(msgspec.Struct, frozen=True, array_like=True):
    """Answer begin: keys, and shares of one's secrets.

    keys: X25519, one a step, which masks of pairs follow from.  bound: digests of the seeds of
    one's own masks, one a step.  sealed: the shares of each of the roster, which nobody else can
    read; one's own is empty.  signature: over the session, keys and bound.
    """

    keys: list[bytes]
    bound: list[bytes]
    sealed: list[bytes]
    signature: bytes


class Joined(msgspec.Struct, frozen=True, array_like=True):
    """Hold a member as the others must know it: its place in the roster, and what it has signed."""

    place: int
    keys: list[bytes]
    bound: list[bytes]
    signature: bytes


class Opening(msgspec.Struct, frozen=True, array_like=True):
    """Hold a sum with all that shows it to be right.

    members: places of those whose numbers are in it.  total: of their masked numbers.  seeds: of
    their own masks, in that order.  lost: places and secrets of those who went before.
    commitments: digests of the masked numbers.  checks: of each member, in that order, with its
    signature; 0 and empty of who has gone since, whose masked numbers were shown, and of who
    collects.  own: the masked numbers of that one, who has seen all others' before its check.
    """

    members: list[int]
    total: bytes
    seeds: list[bytes]
    lost: list[tuple[int, bytes]]
    commitments: list[bytes]
    checks: list[tuple[int, bytes]]
    own: bytes


class Add(msgspec.Struct, frozen=True, array_like=True):
    """Ask for masked numbers.

    joined, sealed: at the first step, who takes part, and what they have sealed for the asked one.
    before: the sum of the step before.
    """

    contact: Contact
    session: bytes
    step: int
    joined: list[Joined]
    sealed: list[bytes]
    before: Opening | None = None


class Added(msgspec.Struct, frozen=True, array_like=True):
    """Answer add: masked numbers, four bytes each, and a signature over their digest."""

    numbers: bytes
    signature: bytes


class Agree(msgspec.Struct, frozen=True, array_like=True):
    """Ask to sign whose numbers are to be added, where not all have given theirs."""

    contact: Contact
    session: bytes
    step: int
    members: list[int]


class Agreed(msgspec.Struct, frozen=True, array_like=True):
    """Answer agree: a signature over session, step and members."""

    signature: bytes


class Open(msgspec.Struct, frozen=True, array_like=True):
    """Ask for what takes the masks off the sum of these members' numbers.

    commitments: digests of their masked numbers.  agreed: places and signatures, where not all have
    given theirs.
    """

    contact: Contact
    session: bytes
    step: int
    members: list[int]
    commitments: list[bytes]
    agreed: list[tuple[int, bytes]]


class Opened(msgspec.Struct, frozen=True, array_like=True):
    """Answer open.

    seed: of one's own mask, where enough have signed whose numbers are added; else nothing, and the
    others' shares must do.  shares: of each other one: of its mask's seed where its numbers are
    added, of its secret where it has gone.  check: one's masked numbers, times numbers
    that follow from all commitments.  signature: over the commitments and it.
    """

    seed: bytes
    shares: list[tuple[int, bytes]]
    check: int
    signature: bytes


class Show(msgspec.Struct, frozen=True, array_like=True):
    """Show the masked numbers of a member that has gone before it could say how it checks them.

    signature: the member's, over their digest.
    """

    contact: Contact
    session: bytes
    step: int
    place: int
    numbers: bytes
    signature: bytes


class End(msgspec.Struct, frozen=True, array_like=True):
    """Tell how a cohort has ended: with the last sum, or without."""

    contact: Contact
    session: bytes
    last: Opening | None


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """Answer show, and end."""

    session: bytes


Step: TypeAlias = Begin | Add | Agree | Open | Show | End
ANSWERS: dict[str, type[msgspec.Struct]] = {
    BEGIN: Begun,
    ADD: Added,
    AGREE: Agreed,
    OPEN: Opened,
    SHOW: Taken,
    END: Taken,
}


def digest(*parts: bytes) -> bytes:
    """Return the SHA-256 of parts, each with its length."""
    hashed = hashlib.sha256(b"qsynth cohort")
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return hashed.digest()


def make_offer(
    identity: Identity, situation: bytes, key: bytes, expires_ms: int, voucher: bytes
) -> Offer:
    """Return a signed offer.  key: the public one of a new X25519 pair."""
    bare = Offer(identity.public_key, key, expires_ms, b"", voucher)
    return msgspec.structs.replace(bare, signature=identity.sign(bare.signed(situation)))


def holds(offer: Offer, situation: bytes, now_ms: float) -> bool:
    """Return whether an offer is its author's, for a situation, and still stands."""
    return (
        len(offer.author) == len(offer.key) == 32
        and now_ms < offer.expires_ms < 2**63
        and verify(offer.author, offer.signed(situation), offer.signature)
    )


def session_digest(name: bytes, situation: bytes, roster: list[Offer]) -> bytes:
    """Return what stands for a session, in signatures and keys."""
    parts = (part for offer in roster for part in (offer.author, offer.key))
    return digest(b"session", name, situation, *parts)


def said_begun(session: bytes, keys: list[bytes], bound: list[bytes]) -> bytes:
    """Return what a member signs when it joins.  session: its digest, as below."""
    return digest(b"begun", session, *keys, *bound)


def said_added(session: bytes, step: int, commitment: bytes) -> bytes:
    """Return what a member signs of its masked numbers."""
    return digest(b"added", session, bytes([step]), commitment)


def said_members(session: bytes, step: int, asked: dict[int, Joined], members: list[int]) -> bytes:
    """Return what a member signs when it agrees whose numbers are added, of all that were asked."""
    known = [part for place in sorted(asked) for part in (bytes([place]), *asked[place].keys)]
    return digest(b"agreed", session, bytes([step]), bytes(members), *known)


def said_check(session: bytes, step: int, commitments: list[bytes], check: int) -> bytes:
    """Return what a member signs of its own masked numbers."""
    return digest(b"check", session, bytes([step]), *commitments, check.to_bytes(8, "big"))
