"""A cohort in memory: members by place, and who vanishes, lies or is late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from qsynth.cohort import masks, messages
from qsynth.cohort.collector import Collector
from qsynth.cohort.member import Member, Session
from qsynth.dht import Contact
from qsynth.errors import PacketError
from qsynth.identity import Identity
from qsynth.privacy import Sum
from qsynth.types import Floats

SITUATION = bytes(range(32))
NOW_MS, UNTIL_MS = 1_700_000_000_000, 1_700_000_600_000


@dataclass
class Drawn:
    """Numbers of one member that anybody can add by hand: the obvious twin of a sum."""

    seed: int
    sizes: Sequence[int] = (40, 12)
    most: int = 64
    fraction_bits: int = 12
    paid: list[bytes] = field(default_factory=list)

    def pay(self, session: bytes) -> bool:
        self.paid.append(session)
        return True

    def numbers(self, sums: Sequence[Sum], session: bytes) -> Floats:
        """Return multiples of a 4096th, which follow from the step and from the sums before."""
        rng = np.random.default_rng([self.seed, len(sums)])
        drawn = rng.integers(-(2**16), 2**16, self.sizes[len(sums)]) / 4096.0
        return drawn + (round(float(sums[-1].numbers[0])) if sums else 0)


def identities(count: int) -> list[Identity]:
    return [Identity.seeded("cohort", place) for place in range(count)]


def members(
    count: int, smallest: int = 3, make: Callable[[int], Any] = Drawn, session: bytes = bytes(16)
) -> list[Member]:
    """Return the members of a session, by place."""
    secrets = [bytes([place] * 16) for place in range(count)]
    who = identities(count)
    roster = [
        messages.make_offer(
            identity, SITUATION, masks.public_key(masks.private_key(secret)), UNTIL_MS, b""
        )
        for identity, secret in zip(who, secrets, strict=True)
    ]
    place = Session(session, SITUATION, roster, smallest)
    return [Member(who[i], secrets[i], place, make(i)) for i in range(count)]


def answer(member: Member, kind: str, body: Any) -> Any:
    """Return what a member answers; None where it refuses."""
    try:
        if kind == messages.BEGIN:
            return member.begun
        return {
            messages.ADD: member.add,
            messages.AGREE: member.agree,
            messages.OPEN: member.open,
            messages.SHOW: member.show,
        }[kind](body)
    except PacketError:
        return None


def run(
    cohort: Sequence[Member],
    alive: Callable[[int, str, int], bool] = lambda place, kind, step: True,
    change: Callable[[int, str, Any], Any] = lambda place, kind, made: made,
    tell: Callable[[int, str, Any], Any] = lambda place, kind, body: body,
) -> Collector:
    """Return the collector, which is the member at place 0, once it has ended.

    alive: whether a member answers a request.  change: what becomes of an answer on its way.
    tell: what becomes of a request.
    """
    contact = Contact(cohort[0].identity.id, "memory:0", b"", 0)
    collector = Collector(contact, cohort[0])
    requests = collector.begin()
    while requests:
        made = []
        for place, kind, body in requests:
            got = None
            if alive(place, kind, collector.step):
                asked = decoded(tell(place, kind, body))
                got = change(place, kind, answer(cohort[place], kind, asked))
            made += collector.answered(place, kind, got)
        requests = made
    return collector


def decoded(body: msgspec.Struct) -> Any:
    """Return a body as it comes out of its bytes."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(body), type=type(body))
