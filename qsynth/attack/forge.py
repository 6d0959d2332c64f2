"""Forge publications: a node that attacks trains and joins as all do, and then it lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from qsynth.attack.base import Attack
from qsynth.attack.payloads import turned
from qsynth.attack.rehearsal import Rehearsal
from qsynth.packet import Payload
from qsynth.pipeline.participant import Port
from qsynth.pipeline.publication import Publication
from qsynth.types import Fingerprint, NodeId

Sketch = Callable[[Payload], tuple[Fingerprint, int]]


@dataclass(frozen=True)
class Forger:
    """Forge what a node publishes.

    attack: an option of the group `attack`.  sketch: gives fingerprint and support of a payload.
    victim: what an honest node publishes.  accomplice: what the first attacker would publish.
    sketched: features that the fingerprint is made of; the others are free to lie with.
    rehearsal: makes what the attack `adaptive` tries its lies on.
    """

    attack: Attack
    sketch: Sketch
    victim: Publication
    accomplice: Publication
    sketched: int
    seed: int
    rehearsal: Callable[[], Rehearsal] | None = None

    def forged(self, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead of an honest publication; None for nothing."""
        lie: Publication | None = self.attack.forged(self, publication, period)
        return lie

    @cached_property
    def adapted(self) -> Publication:
        """Return the lie that was rehearsed."""
        assert self.rehearsal is not None
        return self.published(self.rehearsal().best(self.seed))

    def invented(self, number: int) -> Publication:
        """Return what the N-th of its made-up authors says: flipped labels, in other numbers each.

        As far as its fingerprint leaves them open: it is a victim's.
        """
        payload = turned(self.victim.payload, self.sketched)
        counts = payload["counts"].copy()
        counts[np.flatnonzero(counts)] += np.uint32(number)  # else they would be copies
        return self.published(payload | {"counts": counts})

    def published(self, payload: Payload) -> Publication:
        """Return a payload with the fingerprint that is its own."""
        fingerprint, support = self.sketch(payload)
        return Publication(payload, fingerprint, support, fingerprint)


class AttackingPort:
    """A learner's port that hands forged publications on.

    port: the honest one.
    """

    def __init__(self, port: Port, forger: Forger) -> None:
        self.port, self.forger = port, forger

    def end_period(
        self, period: int, publication: Publication | None, same: float
    ) -> Mapping[NodeId, Any]:
        """Publish the forged publication; return what honest nodes have sent."""
        forged = None if publication is None else self.forger.forged(publication, period)
        return self.port.end_period(period, forged, same)

    def note(self, records: list[dict[str, Any]]) -> None:
        """Record what the learner has to say."""
        self.port.note(records)

    def learned(self, held: Any, used: Any, likelihood: float) -> None:
        """Tell the node how a new synthesis went."""
        self.port.learned(held, used, likelihood)
