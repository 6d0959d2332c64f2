"""What all members know of a session, and what makes its sums hold: sets, signatures, masks.

Sans-I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from qsynth.cohort import masks, messages
from qsynth.cohort.messages import Joined, Offer, Opening
from qsynth.errors import PacketError
from qsynth.identity import verify
from qsynth.privacy import Sum, quorum
from qsynth.types import Floats


class Numbers(Protocol):
    """What a cohort adds, step by step; numbers of a later step may follow from earlier sums."""

    @property
    def most(self) -> int:
        """Return how many members a cohort has at most."""

    @property
    def sizes(self) -> Sequence[int]:
        """Return how many numbers each step has."""

    @property
    def fraction_bits(self) -> int:
        """Return the bits of a fraction in fixed point."""

    def pay(self, session: bytes) -> bool:
        """Return whether numbers may leave in a session; if so they have been accounted for."""

    def numbers(self, sums: Sequence[Sum], session: bytes) -> Floats:
        """Return the numbers of the step after these sums."""


def threshold(roster: int, smallest: int) -> int:
    """Return how many of a roster it takes to open a sum: more than two thirds of it."""
    return max(quorum(roster), smallest)


@dataclass(frozen=True)
class Session:
    """Hold what all members know of a session.

    name: 16 bytes.  situation: the key that offers are stored under.  collector: place of who
    collects.
    """

    name: bytes
    situation: bytes
    roster: list[Offer]
    smallest: int
    collector: int = 0

    @cached_property
    def digest(self) -> bytes:
        """Return what stands for the session."""
        return messages.session_digest(self.name, self.situation, self.roster)

    @property
    def least(self) -> int:
        """Return how many it takes."""
        return threshold(len(self.roster), self.smallest)

    def check_joined(self, joined: Sequence[Joined], steps: int) -> dict[int, Joined]:
        """Return who has joined, by place.  Raises PacketError where one has not signed it."""
        places = [each.place for each in joined]
        if places != sorted(set(places)) or not places or not places[0] >= 0:
            raise PacketError("schema", "places")
        if places[-1] >= len(self.roster):
            raise PacketError("schema", "places")
        if len(places) < self.least:
            raise PacketError("leaves", f"{len(places)} members, needs {self.least}")
        for each in joined:
            if not self.has_begun(each, steps):
                raise PacketError("signature")
        return {each.place: each for each in joined}

    def has_begun(self, each: Joined, steps: int) -> bool:
        """Return whether a member has signed what is told of it, and its keys are keys."""
        said = messages.said_begun(self.digest, each.keys, each.bound)
        whole = len(each.bound) == len(each.keys) == steps
        return (
            whole
            and self.signed(each.place, said, each.signature)
            and all(map(masks.usable, each.keys))
        )

    def check_agreed(
        self,
        step: int,
        current: dict[int, Joined],
        members: Sequence[int],
        agreed: Sequence[tuple[int, bytes]],
    ) -> None:
        """Raise PacketError unless enough members have signed whose numbers are added."""
        said = messages.said_members(self.digest, step, current, list(members))
        signed = {place for place, proof in agreed if self.signed(place, said, proof)}
        if len(signed & set(members)) < self.least:
            raise PacketError("leaves", "members have not agreed")

    def signed(self, place: int, said: bytes, signature: bytes) -> bool:
        """Return whether the author at a place has signed."""
        if not 0 <= place < len(self.roster):
            return False
        return verify(self.roster[place].author, said, signature)

    def open(
        self,
        step: int,
        current: dict[int, Joined],
        size: int,
        opening: Opening,
        shown: Mapping[int, bytes],
    ) -> masks.Words:
        """Return the words of a sum.  Raises PacketError where it is not what members have given.

        current: who was asked for numbers.  shown: masked numbers of who has gone since, by place.
        """
        self.check_shape(current, opening)
        self._check_sum(step, size, opening, shown)
        total = masks.unpack(opening.total, size, masks.TOTAL_BYTES)
        for place, seed in zip(opening.members, opening.seeds, strict=True):
            if messages.digest(b"seed", seed) != current[place].bound[step]:
                raise PacketError("sum", "another seed than its member was bound to")
            total = total - masks.mask(seed, step, size)
        for gone, secret in opening.lost:
            private = masks.private_key(secret)
            if masks.public_key(private) != current[gone].keys[step]:
                raise PacketError("sum", "another secret than its member was bound to")
            for place in opening.members:
                pair = masks.shared(private, current[place].keys[step], self.digest)
                total = total - signed_mask(pair, step, size, place, gone)
        return total % masks.MODULUS

    def check_shape(self, current: dict[int, Joined], opening: Opening) -> None:
        """Raise PacketError where a sum is not of those who were asked, or of too few."""
        members, count = opening.members, len(opening.members)
        if members != sorted(set(members)) or not set(members) <= set(current):
            raise PacketError("schema", "members")
        if count < self.least:
            raise PacketError("leaves", f"{count} members, needs {self.least}")
        if [gone for gone, _ in opening.lost] != sorted(set(current) - set(members)):
            raise PacketError("schema", "lost members")
        if not count == len(opening.seeds) == len(opening.commitments) == len(opening.checks):
            raise PacketError("schema", "a sum of other members")

    def _check_sum(
        self, step: int, size: int, opening: Opening, shown: Mapping[int, bytes]
    ) -> None:
        """Raise PacketError where a total is not that of the numbers that members have given."""
        weights = masks.coefficients(opening.commitments, self.digest + bytes([step]), size)
        known = {**shown, self.collector: opening.own}
        expected = 0
        rows = zip(opening.members, opening.commitments, opening.checks, strict=True)
        for place, commitment, (check, signature) in rows:
            if place == self.collector or not signature:
                if messages.digest(known.get(place, b"")) != commitment:
                    raise PacketError("sum", "numbers that were not shown")
                numbers = masks.unpack(known[place], size, masks.NUMBER_BYTES)
                check = masks.checked(numbers, weights)
            elif not 0 <= check < masks.PRIME or not self.signed(
                place, messages.said_check(self.digest, step, opening.commitments, check), signature
            ):
                raise PacketError("signature")
            expected += check
        total = masks.unpack(opening.total, size, masks.TOTAL_BYTES)
        if masks.checked(total, weights) != expected % masks.PRIME:
            raise PacketError("sum", "not what its members have given")


def signed_mask(pair: bytes, step: int, size: int, place: int, other: int) -> masks.Words:
    """Return what one member of a pair adds: the mask, or what takes it off."""
    words = masks.mask(pair, step, size)
    return words if place < other else masks.MODULUS - words
