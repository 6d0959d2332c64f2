"""What a member of a cohort does: it hides its numbers, and shows what opens their sum alone.

It answers each step once; a request that is sent again gets the same answer.  It never gives shares
of both a member's mask and its secret, and signs one set of members a step: with more than two
thirds of the roster needed to open a sum, no two sets can be opened (Bonawitz et al. 2017,
section 4.2, Lemma 6).  Sans-I/O.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from qsynth.cohort import masks, messages
from qsynth.cohort.messages import Joined, Offer, Opening
from qsynth.errors import PacketError
from qsynth.identity import Identity, verify
from qsynth.privacy import Sum
from qsynth.types import Floats

Places = tuple[int, ...]


class Numbers(Protocol):
    """What a cohort adds, step by step; numbers of a later step may follow from earlier sums."""

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
    return max(2 * roster // 3 + 1, smallest)


@dataclass(frozen=True)
class Session:
    """Hold what all members know of a session.

    name: 16 bytes.  situation: the key that offers are stored under.
    """

    name: bytes
    situation: bytes
    roster: list[Offer]
    smallest: int

    @property
    def digest(self) -> bytes:
        """Return what stands for the roster."""
        return messages.roster_digest(self.situation, self.roster)

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
            said = messages.said_begun(self.name, self.digest, each.key, each.bound)
            if len(each.bound) != steps or not self.signed(each.place, said, each.signature):
                raise PacketError("signature")
        return {each.place: each for each in joined}

    def check_agreed(
        self, step: int, members: Sequence[int], agreed: Sequence[tuple[int, bytes]]
    ) -> None:
        """Raise PacketError unless enough members have signed whose numbers are added."""
        said = messages.said_members(self.name, self.digest, step, list(members))
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
        self._check_shape(current, opening)
        self._check_sum(step, size, opening, shown)
        total = masks.unpack(opening.total, size, masks.TOTAL_BYTES)
        for place, seed in zip(opening.members, opening.seeds, strict=True):
            if messages.digest(b"seed", seed) != current[place].bound[step]:
                raise PacketError("sum", "another seed than its member was bound to")
            total = total - masks.mask(seed, step, size)
        for gone, secret in opening.lost:
            private = masks.private_key(secret)
            if masks.public_key(private) != current[gone].key:
                raise PacketError("sum", "another secret than its member was bound to")
            for place in opening.members:
                pair = masks.shared(private, current[place].key, self.name)
                total = total - _signed_mask(pair, step, size, place, gone)
        return total % masks.MODULUS

    def _check_shape(self, current: dict[int, Joined], opening: Opening) -> None:
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
        context = self.name + bytes([step])
        weights = masks.coefficients(opening.commitments, context, size)
        expected = 0
        rows = zip(opening.members, opening.commitments, opening.checks, strict=True)
        for place, commitment, (check, signature) in rows:
            if not signature and messages.digest(shown.get(place, b"")) == commitment:
                numbers = masks.unpack(shown[place], size, masks.NUMBER_BYTES)
                check = masks.checked(numbers, weights)
            elif not 0 <= check < masks.PRIME or not self.signed(
                place, messages.said_check(self.name, step, opening.commitments, check), signature
            ):
                raise PacketError("signature")
            expected += check
        total = masks.unpack(opening.total, size, masks.TOTAL_BYTES)
        if masks.checked(total, weights) != expected % masks.PRIME:
            raise PacketError("sum", "not what its members have given")


def _signed_mask(pair: bytes, step: int, size: int, place: int, other: int) -> masks.Words:
    """Return what one member of a pair adds: the mask, or what takes it off."""
    words = masks.mask(pair, step, size)
    return words if place < other else masks.MODULUS - words


@dataclass
class Member:
    """Take part in one session.

    offered: the secret of the offer's key.
    Raises PacketError where the session is not one to take part in.
    """

    identity: Identity
    offered: bytes
    session: Session
    numbers: Numbers
    place: int = field(init=False)
    joined: dict[int, Joined] = field(init=False, default_factory=dict)
    sums: list[Sum] = field(init=False, default_factory=list)
    openings: list[Opening] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        mine = masks.public_key(masks.private_key(self.offered))
        places = [i for i, o in enumerate(self.session.roster) if o.author == self._author]
        if len(places) != 1 or self.session.roster[places[0]].key != mine:
            raise PacketError("schema", "not of this roster")
        self.place = places[0]
        if not self.session.smallest <= len(self.session.roster) <= messages.MOST:
            raise PacketError("leaves", f"a roster of {len(self.session.roster)}")
        self._secret = os.urandom(masks.SECRET_BYTES)
        self._seeds = [os.urandom(masks.SECRET_BYTES) for _ in self.numbers.sizes]
        self._sealed: dict[int, bytes] = {}
        self._sealings: dict[int, bytes] = {}
        self._pairs: dict[int, bytes] = {}
        self._given: list[bytes] = []  # masked numbers, a step
        self._agreed: dict[int, Places] = {}  # that one has signed, or opened, by step
        self._opened: dict[int, messages.Opened] = {}
        self._shown: dict[int, bytes] = {}  # at this step, by place

    @property
    def _author(self) -> bytes:
        return self.identity.public_key

    def begin(self) -> messages.Begun:
        """Return one's key, and shares of one's secrets, sealed for each other one."""
        roster, session = self.session.roster, self.session
        shares = [
            masks.split(secret, session.least, len(roster))
            for secret in (*self._seeds, self._secret)
        ]
        sealed = []
        for place in range(len(roster)):
            plain = b"".join(share[place] for share in shares)
            own = place == self.place
            sealed.append(
                b"" if own else masks.seal(self._sealing(place), bytes([self.place]), plain)
            )
        key = masks.public_key(masks.private_key(self._secret))
        bound = [messages.digest(b"seed", seed) for seed in self._seeds]
        said = messages.said_begun(session.name, session.digest, key, bound)
        return messages.Begun(key, bound, sealed, self.identity.sign(said))

    def _sealing(self, other: int) -> bytes:
        """Return what two offers' keys share, which shares are sealed under, either way."""
        if other not in self._sealings:
            private, theirs = masks.private_key(self.offered), self.session.roster[other].key
            self._sealings[other] = masks.shared(private, theirs, self.session.name)
        return self._sealings[other]

    def current(self, step: int) -> dict[int, Joined]:
        """Return who is asked for the numbers of a step: whose are in the sum before it."""
        if step == 0:
            return self.joined
        return {place: self.joined[place] for place in self.openings[step - 1].members}

    def add(self, body: messages.Add) -> messages.Added:
        """Return the masked numbers of a step.  Raises PacketError."""
        step = len(self._given)
        if body.step != step or step >= len(self.numbers.sizes):
            raise PacketError("replay")
        if step == 0:
            joined = self.session.check_joined(body.joined, len(self.numbers.sizes))
            if self.place not in joined or len(body.sealed) != len(joined):
                raise PacketError("schema", "not among those who joined")
            if joined[self.place].key != masks.public_key(masks.private_key(self._secret)):
                raise PacketError("schema", "another key")
            if not self.numbers.pay(self.session.name):
                raise PacketError("budget", "nothing is left to be told")
            self.joined = joined
            self._sealed = dict(zip(joined, body.sealed, strict=True))
        elif len(self.sums) < step:  # who gathers has taken it already
            if body.before is None:
                raise PacketError("schema", "no sum before")
            self.take(body.before)
        size = self.numbers.sizes[step]
        words = masks.fixed(
            self.numbers.numbers(self.sums, self.session.name), self.numbers.fraction_bits
        )
        words = words + masks.mask(self._seeds[step], step, size)
        for place, other in self.current(step).items():
            if place != self.place:
                pair = self._pair(place, other)
                words = words + _signed_mask(pair, step, size, self.place, place)
        made = masks.pack(words % masks.MODULUS, masks.NUMBER_BYTES)
        self._given.append(made)
        said = messages.said_added(self.session.name, step, messages.digest(made))
        return messages.Added(made, self.identity.sign(said))

    def _pair(self, place: int, other: Joined) -> bytes:
        """Return the secret that the masks of a pair follow from."""
        if place not in self._pairs:
            private = masks.private_key(self._secret)
            self._pairs[place] = masks.shared(private, other.key, self.session.name)
        return self._pairs[place]

    def agree(self, body: messages.Agree) -> messages.Agreed:
        """Return a signature over whose numbers are added.  Raises PacketError."""
        self._settle(body.step, tuple(body.members))
        said = messages.said_members(
            self.session.name, self.session.digest, body.step, body.members
        )
        return messages.Agreed(self.identity.sign(said))

    def _settle(self, step: int, members: Places) -> None:
        """Hold a step to one set of members.  Raises PacketError where it is another one."""
        if step != len(self._given) - 1 or step != len(self.sums):
            raise PacketError("replay")
        if list(members) != sorted(set(members)) or not set(members) <= set(self.current(step)):
            raise PacketError("schema", "members")
        if self.place not in members or len(members) < self.session.least:
            raise PacketError("leaves", "too few members, or another's sum")
        if self._agreed.setdefault(step, members) != members:
            raise PacketError("replay", "has agreed to others")

    def open(self, body: messages.Open) -> messages.Opened:
        """Return what takes the masks off a sum.  Raises PacketError."""
        members = tuple(body.members)
        if set(members) != set(self.current(body.step)):
            self.session.check_agreed(body.step, members, body.agreed)
        self._settle(body.step, members)
        given = self._given[body.step]
        if len(body.commitments) != len(members):
            raise PacketError("schema", "commitments")
        if body.commitments[members.index(self.place)] != messages.digest(given):
            raise PacketError("sum", "other numbers than were given")
        if body.step in self._opened:
            return self._opened[body.step]  # never for other commitments
        context = self.session.name + bytes([body.step])
        size = self.numbers.sizes[body.step]
        weights = masks.coefficients(body.commitments, context, size)
        check = masks.checked(masks.unpack(given, size, masks.NUMBER_BYTES), weights)
        said = messages.said_check(self.session.name, body.step, body.commitments, check)
        shares = self._shares(body.step, set(members))
        made = messages.Opened(self._seeds[body.step], shares, check, self.identity.sign(said))
        self._opened[body.step] = made
        return made

    def _shares(self, step: int, members: set[int]) -> list[tuple[int, bytes]]:
        """Return one's share of each other's mask, or of the secret of who has gone."""
        shares = []
        for place in self.current(step):
            if place == self.place:
                continue
            try:
                plain = masks.unseal(self._sealing(place), bytes([place]), self._sealed[place])
            except PacketError:
                continue  # its own fault: others may have theirs
            which = step if place in members else len(self.numbers.sizes)
            share = plain[which * masks.SECRET_BYTES : (which + 1) * masks.SECRET_BYTES]
            if len(share) == masks.SECRET_BYTES:
                shares.append((place, share))
        return shares

    def show(self, body: messages.Show) -> messages.Taken:
        """Take the masked numbers of a member that has gone.  Raises PacketError."""
        if body.step != len(self._given) - 1 or body.place not in self.current(body.step):
            raise PacketError("replay")
        said = messages.said_added(self.session.name, body.step, messages.digest(body.numbers))
        if not self.session.signed(body.place, said, body.signature):
            raise PacketError("signature")
        self._shown[body.place] = body.numbers
        return messages.Taken(self.session.name)

    def take(self, opening: Opening) -> None:
        """Take the sum of the newest step.  Raises PacketError where it does not hold."""
        step = len(self._given) - 1
        if step < 0 or len(self.sums) != step:
            raise PacketError("replay")
        current = self.current(step)
        told = tuple(opening.members)
        if self._agreed.get(step, tuple(sorted(current))) != told or self.place not in told:
            raise PacketError("leaves", "a sum of other members")
        if opening.commitments[told.index(self.place)] != messages.digest(self._given[step]):
            raise PacketError("sum", "other numbers than were given")
        size = self.numbers.sizes[step]
        words = self.session.open(step, current, size, opening, self._shown)
        self._shown = {}
        numbers = masks.floating(words, self.numbers.fraction_bits)
        self.sums.append(Sum(numbers, len(told)))
        self.openings.append(opening)
