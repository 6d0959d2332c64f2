"""What every attack is: what its nodes publish, and what they tell of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qsynth.packet import Payload
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting

if TYPE_CHECKING:
    from qsynth.protocol.node import Node


class Forging(Protocol):
    """What a node that attacks knows, and lies with."""

    @property
    def victim(self) -> Publication:
        """Return what an honest node publishes."""

    @property
    def accomplice(self) -> Publication:
        """Return what the first attacker would publish."""

    @property
    def sketched(self) -> int:
        """Return the features that a fingerprint is made of; the others are free to lie with."""

    @property
    def seed(self) -> int:
        """Return the node's seed."""

    @property
    def adapted(self) -> Publication:
        """Return the lie that was rehearsed."""

    def published(self, payload: Payload) -> Publication:
        """Return a payload with the fingerprint that is its own."""

    def invented(self, number: int) -> Publication:
        """Return what the N-th of its made-up authors says."""


@option("attack")
@dataclass(frozen=True)
class Attack:
    """What every attack has.  Only honest nodes are measured."""

    share: float = setting(0.2, "of the nodes that attack, drawn by the seed", low=0.0, high=0.9)

    rehearsed = False  # needs a rule of synthesis to try its lies on

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead of an honest publication; None for nothing."""
        raise NotImplementedError

    def misbehave(self, node: Node, forger: Callable[[], Forging], seed: int) -> None:
        """Let a node that has just been made lie about others; most attacks do not."""
