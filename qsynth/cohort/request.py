"""A request that the one that collects a cohort has sent, and where its answer goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import msgspec

from qsynth.cohort import messages
from qsynth.mesh import Answer
from qsynth.protocol import messages as wire
from qsynth.protocol.effects import Effects


class Collecting(Protocol):
    """What takes the answers."""

    def answered(
        self, now: float, asked: MemberRequest, body: msgspec.Struct | None, effects: Effects
    ) -> None:
        """Take a member's answer, or that it gives none."""


@dataclass(frozen=True)
class MemberRequest:
    """A request to a member, which the one that collects has sent."""

    cohorts: Collecting
    session: bytes
    place: int
    kind: str

    def answered(self, now: float, answer: Answer, effects: Effects) -> None:
        """Take the answer."""
        body = None if answer.refused else wire.unpack(answer.body, messages.ANSWERS[self.kind])
        self.cohorts.answered(now, self, body, effects)

    def failed(self, now: float, effects: Effects) -> None:
        """Note that there is none."""
        self.cohorts.answered(now, self, None, effects)
