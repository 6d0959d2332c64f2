"""What the node does that collects a cohort: it asks all members, and learns their sum alone.

Any member can; it is trusted with nothing.  A step ends when all have answered, or failed to: who
asks it sees to deadlines.  Sans-I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from qsynth.cohort import masks, messages
from qsynth.cohort.member import Member
from qsynth.cohort.messages import Joined, Opening
from qsynth.dht import Contact
from qsynth.errors import PacketError

Requests = list[tuple[int, str, msgspec.Struct]]  # place, kind, body


@dataclass
class Collector:
    """Collect one session.

    me: one's own contact.  member: one's own part in it.  ended: None while it goes on, then
    whether there is a sum.  kind, step: of the requests that are waited for.
    """

    me: Contact
    member: Member
    ended: bool | None = None
    kind: str = ""
    step: int = 0
    waiting: set[int] = field(default_factory=set)
    _answers: dict[int, msgspec.Struct] = field(default_factory=dict)
    _begun: dict[int, messages.Begun] = field(default_factory=dict)
    _added: dict[int, messages.Added] = field(default_factory=dict)
    _agreed: dict[int, messages.Agreed] = field(default_factory=dict)
    _opened: Opening | None = None
    _unchecked: list[int] = field(default_factory=list)  # places whose numbers are to be shown
    _present: list[int] = field(default_factory=list)  # places that have opened the sum

    def begin(self) -> Requests:
        """Return the first requests."""
        session = self.member.session
        body = messages.Begin(self.me, session.name, session.roster)
        return self._ask(messages.BEGIN, dict.fromkeys(range(len(session.roster)), body))

    def _ask(self, kind: str, bodies: dict[int, msgspec.Struct]) -> Requests:
        """Return requests to others; one's own answer is there at once."""
        self.kind, self._answers = kind, {}
        self.waiting = set(bodies) - {self.member.place}
        own = bodies.get(self.member.place)
        if own is not None:
            self._answers[self.member.place] = self._own(kind, own)
        return [(place, kind, bodies[place]) for place in sorted(self.waiting)]

    def _own(self, kind: str, body: msgspec.Struct) -> msgspec.Struct:
        if isinstance(body, messages.Add):
            return self.member.add(body)
        if isinstance(body, messages.Agree):
            return self.member.agree(body)
        if isinstance(body, messages.Open):
            return self.member.open(body)
        if isinstance(body, messages.Show):
            return self.member.show(body)
        return self.member.begun

    def answered(self, place: int, kind: str, body: msgspec.Struct | None) -> Requests:
        """Take an answer, or that there is none; return the next requests.

        Raises PacketError where one's own part may not go on: then nothing has been learned.
        """
        if self.ended is not None or kind != self.kind or place not in self.waiting:
            return []
        self.waiting.discard(place)
        if body is not None:
            self._answers[place] = body
        if self.waiting:
            return []
        while self.ended is None and not self.waiting:
            if requests := self._advance():
                return requests
        return []

    def _advance(self) -> Requests:
        if self.kind == messages.BEGIN:
            return self._after_begin()
        if self.kind == messages.ADD:
            return self._after_add()
        if self.kind == messages.AGREE:
            return self._after_agree()
        if self.kind == messages.SHOW:
            return self._after_show()
        return self._after_open()

    def _fail(self) -> Requests:
        self.ended = False
        return []

    def _after_begin(self) -> Requests:
        session, steps = self.member.session, len(self.member.numbers.sizes)
        joined = []
        for place in sorted(self._answers):
            body = self._answers[place]
            if not isinstance(body, messages.Begun) or len(body.sealed) != len(session.roster):
                continue
            each = Joined(place, body.keys, body.bound, body.signature)
            if session.has_begun(each, steps):
                joined.append(each)
                self._begun[place] = body
        if len(joined) < session.least:
            return self._fail()
        return self._ask(
            messages.ADD,
            {
                each.place: messages.Add(
                    self.me,
                    session.name,
                    0,
                    joined,
                    [self._begun[other.place].sealed[each.place] for other in joined],
                )
                for each in joined
            },
        )

    def _after_add(self) -> Requests:
        session, member = self.member.session, self.member
        size = member.numbers.sizes[self.step]
        self._added = {}
        for place in sorted(self._answers):
            body = self._answers[place]
            if not isinstance(body, messages.Added):
                continue
            said = messages.said_added(session.digest, self.step, messages.digest(body.numbers))
            whole = len(body.numbers) == size * masks.NUMBER_BYTES
            if whole and session.signed(place, said, body.signature):
                self._added[place] = body
        if len(self._added) < session.least or member.place not in self._added:
            return self._fail()
        members, self._agreed = sorted(self._added), {}
        # Of one's own seed a member says nothing unless enough have signed: the others' shares do.
        if set(members) == set(member.current(self.step)) and len(members) > session.least:
            return self._open(members)
        body = messages.Agree(self.me, session.name, self.step, members)
        return self._ask(messages.AGREE, dict.fromkeys(members, body))

    def _after_agree(self) -> Requests:
        session, members = self.member.session, sorted(self._added)
        asked = self.member.current(self.step)
        said = messages.said_members(session.digest, self.step, asked, members)
        for place, body in self._answers.items():
            if isinstance(body, messages.Agreed) and session.signed(place, said, body.signature):
                self._agreed[place] = body
        if len(self._agreed) < session.least:
            return self._fail()
        return self._open(members)

    def _open(self, members: list[int]) -> Requests:
        body = messages.Open(
            self.me,
            self.member.session.name,
            self.step,
            members,
            [messages.digest(self._added[place].numbers) for place in members],
            [(place, each.signature) for place, each in sorted(self._agreed.items())],
        )
        # Who has gone while the others agreed is not asked again.
        return self._ask(messages.OPEN, dict.fromkeys(sorted(self._agreed) or members, body))

    def _after_open(self) -> Requests:
        self._opened = self._opening()
        if self._opened is None and not self._agreed:
            members = sorted(self._added)  # shares have not been enough, or are false
            body = messages.Agree(self.me, self.member.session.name, self.step, members)
            return self._ask(messages.AGREE, dict.fromkeys(members, body))
        if self._opened is None:
            return self._fail()
        self._unchecked = [
            place
            for place, (_, signature) in zip(self._opened.members, self._opened.checks, strict=True)
            if not signature and place != self.member.place
        ]
        self._present = [p for p, b in self._answers.items() if isinstance(b, messages.Opened)]
        return self._after_show()

    def _after_show(self) -> Requests:
        """Show the numbers of the next member that has gone, or go on."""
        opening = self._opened
        assert opening is not None
        if self._unchecked:
            place = self._unchecked.pop()
            added = self._added[place]
            body = messages.Show(
                self.me, self.member.session.name, self.step, place, added.numbers, added.signature
            )
            return self._ask(messages.SHOW, dict.fromkeys(self._present, body))
        try:
            self.member.take(opening)
        except PacketError:
            return self._fail()  # somebody has lied: nobody is told a sum that does not hold
        self.step += 1
        if self.step == len(self.member.numbers.sizes):
            self.ended = True
            return []
        more = messages.Add(self.me, self.member.session.name, self.step, [], [], opening)
        # Who has not opened the last sum may be there again: it has shares to give.
        return self._ask(messages.ADD, dict.fromkeys(opening.members, more))

    def _opening(self) -> Opening | None:
        """Return the sum with what opens it; None where too few have said how."""
        step = self.step
        members, current = sorted(self._added), self.member.current(step)
        told = {p: b for p, b in self._answers.items() if isinstance(b, messages.Opened)}
        commitments = [messages.digest(self._added[place].numbers) for place in members]
        shares: dict[int, list[tuple[int, bytes]]] = {}
        for place, body in sorted(told.items()):
            for other, share in body.shares:
                shares.setdefault(other, []).append((place, share))
        seeds = {
            place: body.seed
            for place, body in told.items()
            if messages.digest(b"seed", body.seed) == current[place].bound[step]
        } | {self.member.place: self.member.seed(step)}
        try:
            for place in sorted(set(members) - set(seeds)):
                seeds[place] = self._combined(shares.get(place, []))
                if messages.digest(b"seed", seeds[place]) != current[place].bound[step]:
                    return None
            lost = [
                (place, self._combined(shares.get(place, [])))
                for place in sorted(set(current) - set(members))
            ]
        except PacketError:
            return None
        checks = [self._check(place, told.get(place), commitments) or (0, b"") for place in members]
        size = self.member.numbers.sizes[step]
        total = np.zeros(size, np.uint64)
        for place in members:
            total += masks.unpack(self._added[place].numbers, size, masks.NUMBER_BYTES)
        return Opening(
            members,
            masks.pack(total, masks.TOTAL_BYTES),
            [seeds[place] for place in members],
            lost,
            commitments,
            checks,
            self._added[self.member.place].numbers,
        )

    def _check(
        self, place: int, body: messages.Opened | None, commitments: list[bytes]
    ) -> tuple[int, bytes] | None:
        if body is None or not 0 <= body.check < masks.PRIME:
            return None
        session = self.member.session
        said = messages.said_check(session.digest, self.step, commitments, body.check)
        return (body.check, body.signature) if session.signed(place, said, body.signature) else None

    def _combined(self, shares: Iterable[tuple[int, bytes]]) -> bytes:
        held = [(place, share) for place, share in shares if len(share) == masks.SECRET_BYTES]
        if len(held) < self.member.session.least:
            raise PacketError("leaves", "too few shares")
        return masks.combine(held[: self.member.session.least])
