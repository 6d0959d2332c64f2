"""What a member of a cohort does: it hides its numbers, and shows what opens their sum alone.

It answers each step once; a request that is sent again gets the same answer.  It never gives shares
of both a member's mask and its secret, holds a step to one set of members, and says the seed of its
own mask only where enough have signed that set: with more than two thirds of the roster needed to
open a sum, no two sets can be opened (Bonawitz et al. 2017, section 4.2, Lemma 6).  Each step has
secrets of its own: who vanishes at one has given nothing away of the one before.  Sans-I/O.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from msgspec.structs import replace

from qsynth.cohort import masks, messages
from qsynth.cohort.messages import Joined, Opening
from qsynth.cohort.session import Numbers, Session, signed_mask
from qsynth.errors import PacketError
from qsynth.identity import Identity
from qsynth.privacy import Sum

Places = tuple[int, ...]


@dataclass
class Member:
    """Take part in one session.

    offered: the secret of the offer's key.  draw: random bytes; of the system, but in simulations.
    Raises PacketError where the session is not one to take part in.
    """

    identity: Identity
    offered: bytes
    session: Session
    numbers: Numbers
    draw: Callable[[int], bytes] = os.urandom
    place: int = field(init=False)
    joined: dict[int, Joined] = field(init=False, default_factory=dict)
    sums: list[Sum] = field(init=False, default_factory=list)
    openings: list[Opening] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        mine, roster = masks.public_key(masks.private_key(self.offered)), self.session.roster
        author = self.identity.public_key
        places = [i for i, o in enumerate(roster) if o.author == author]
        if len(places) != 1 or roster[places[0]].key != mine:
            raise PacketError("schema", "not of this roster")
        self.place = places[0]
        most = min(self.numbers.most, messages.MOST)
        if not self.session.smallest <= len(roster) <= most:
            raise PacketError("leaves", f"a roster of {len(roster)}")
        steps = range(len(self.numbers.sizes))
        self._secrets = [self.draw(masks.SECRET_BYTES) for _ in steps]
        self._seeds = [self.draw(masks.SECRET_BYTES) for _ in steps]
        self._sealed: dict[int, bytes] = {}
        self._sealings: dict[int, bytes] = {}
        self._given: list[bytes] = []  # masked numbers, a step
        self._agreed: dict[int, Places] = {}  # that one has signed, or opened, by step
        self._opened: dict[int, messages.Opened] = {}
        self._commitments: list[bytes] = []  # that it was opened for
        self._shown: dict[int, bytes] = {}  # at this step, by place
        self.begun = self._begin()

    @cached_property
    def name(self) -> bytes:
        """Return what this part in this session is paid for under, which nobody else chooses."""
        return messages.digest(b"part", self.session.digest, *self.begun.keys)

    def _begin(self) -> messages.Begun:
        """Return one's keys, and shares of one's secrets, sealed for each other one."""
        roster, session = self.session.roster, self.session
        shares = [
            masks.split(secret, session.least, len(roster))
            for secret in (*self._seeds, *self._secrets)
        ]
        sealed = []
        for place in range(len(roster)):
            plain = b"".join(share[place] for share in shares)
            other = place != self.place and masks.usable(roster[place].key)
            sealed.append(
                masks.seal(self._sealing(place), bytes([self.place]), plain) if other else b""
            )
        keys = [masks.public_key(masks.private_key(secret)) for secret in self._secrets]
        bound = [messages.digest(b"seed", seed) for seed in self._seeds]
        said = messages.said_begun(session.digest, keys, bound)
        return messages.Begun(keys, bound, sealed, self.identity.sign(said))

    def _sealing(self, other: int) -> bytes:
        """Return what two offers' keys share, which shares are sealed under, either way."""
        if other not in self._sealings:
            private, theirs = masks.private_key(self.offered), self.session.roster[other].key
            self._sealings[other] = masks.shared(private, theirs, self.session.digest)
        return self._sealings[other]

    def seed(self, step: int) -> bytes:
        """Return the seed of one's own mask: for oneself, when one collects."""
        return self._seeds[step]

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
            if joined[self.place].keys != self.begun.keys:
                raise PacketError("schema", "another key")
            if not self.numbers.pay(self.name):
                raise PacketError("budget", "nothing is left to be told")
            self.joined = joined
            self._sealed = dict(zip(joined, body.sealed, strict=True))
        elif len(self.sums) < step:  # who collects has taken it already
            if body.before is None:
                raise PacketError("schema", "no sum before")
            self.take(body.before)
        size = self.numbers.sizes[step]
        words = masks.fixed(self.numbers.numbers(self.sums, self.name), self.numbers.fraction_bits)
        words = words + masks.mask(self._seeds[step], step, size)
        private = masks.private_key(self._secrets[step])
        for place, other in self.current(step).items():
            if place != self.place:
                pair = masks.shared(private, other.keys[step], self.session.digest)
                words = words + signed_mask(pair, step, size, self.place, place)
        made = masks.pack(words % masks.MODULUS, masks.NUMBER_BYTES)
        self._given.append(made)
        said = messages.said_added(self.session.digest, step, messages.digest(made))
        return messages.Added(made, self.identity.sign(said))

    def agree(self, body: messages.Agree) -> messages.Agreed:
        """Return a signature over whose numbers are added.  Raises PacketError."""
        members = self._checked(body.step, body.members)
        self._hold_to(body.step, members)
        current = self.current(body.step)
        said = messages.said_members(self.session.digest, body.step, current, body.members)
        return messages.Agreed(self.identity.sign(said))

    def _checked(self, step: int, members: list[int]) -> Places:
        """Return a set of members that the newest step may be of.  Raises PacketError."""
        if step != len(self._given) - 1 or step != len(self.sums):
            raise PacketError("replay")
        if members != sorted(set(members)) or not set(members) <= set(self.current(step)):
            raise PacketError("schema", "members")
        if self.place not in members or len(members) < self.session.least:
            raise PacketError("leaves", "too few members, or another's sum")
        return tuple(members)

    def _hold_to(self, step: int, members: Places) -> None:
        """Hold a step to one set of members.  Raises PacketError where it is another one."""
        if self._agreed.setdefault(step, members) != members:
            raise PacketError("replay", "has agreed to others")

    def open(self, body: messages.Open) -> messages.Opened:
        """Return what takes the masks off a sum.  Raises PacketError."""
        step, members = body.step, self._checked(body.step, body.members)
        current = self.current(step)
        sure = bool(body.agreed) or set(members) != set(current)
        if sure:
            self.session.check_agreed(step, current, members, body.agreed)
        given = self._given[step]
        if len(body.commitments) != len(members):
            raise PacketError("schema", "commitments")
        if body.commitments[members.index(self.place)] != messages.digest(given):
            raise PacketError("sum", "other numbers than were given")
        self._hold_to(step, members)
        if step in self._opened:  # never for other commitments
            if sure and body.commitments == self._commitments:
                self._opened[step] = replace(self._opened[step], seed=self._seeds[step])
            return self._opened[step]
        size, digest = self.numbers.sizes[step], self.session.digest
        weights = masks.coefficients(body.commitments, digest + bytes([step]), size)
        check = masks.checked(masks.unpack(given, size, masks.NUMBER_BYTES), weights)
        said = messages.said_check(digest, step, body.commitments, check)
        # One's own seed alone would undo what others' shares may still do: of a set that not
        # enough have signed, only they tell.
        seed = self._seeds[step] if sure else b""
        shares = self._shares(step, set(members))
        made = messages.Opened(seed, shares, check, self.identity.sign(said))
        self._opened[step], self._commitments = made, body.commitments
        return made

    def _shares(self, step: int, members: set[int]) -> list[tuple[int, bytes]]:
        """Return one's share of each other's mask, or of the secret of who has gone."""
        shares, steps = [], len(self.numbers.sizes)
        for place in self.current(step):
            if place == self.place:
                continue
            try:
                plain = masks.unseal(self._sealing(place), bytes([place]), self._sealed[place])
            except PacketError:
                continue  # its own fault: others may have theirs
            which = step if place in members else steps + step
            share = plain[which * masks.SECRET_BYTES : (which + 1) * masks.SECRET_BYTES]
            if len(share) == masks.SECRET_BYTES:
                shares.append((place, share))
        return shares

    def show(self, body: messages.Show) -> messages.Taken:
        """Take the masked numbers of a member that has gone.  Raises PacketError."""
        step = body.step
        if step < 0 or step != len(self._given) - 1 or step != len(self.sums):
            raise PacketError("replay")
        if body.place not in self.current(step):
            raise PacketError("schema", "members")
        said = messages.said_added(self.session.digest, step, messages.digest(body.numbers))
        if not self.session.signed(body.place, said, body.signature):
            raise PacketError("signature")
        self._shown[body.place] = body.numbers
        return messages.Taken(self.session.name)

    def end(self, opening: Opening) -> None:
        """Take the last sum.  Raises PacketError where it is not the last, or does not hold."""
        if len(self._given) != len(self.numbers.sizes):
            raise PacketError("replay", "not the last")
        self.take(opening)

    def take(self, opening: Opening) -> None:
        """Take the sum of the newest step.  Raises PacketError where it does not hold."""
        step = len(self._given) - 1
        if step < 0 or len(self.sums) != step:
            raise PacketError("replay")
        current = self.current(step)
        self.session.check_shape(current, opening)
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
