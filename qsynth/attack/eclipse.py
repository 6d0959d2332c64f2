"""The attack `eclipse`: lookups that end nowhere (`peer.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import turned
from qsynth.lazy import load
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting

if TYPE_CHECKING:
    from qsynth.protocol.node import Node


@option("attack")
@dataclass(frozen=True)
class Eclipse(Attack):
    """Answer lookups with made-up nodes that are exactly what is asked for.

    And publish flipped labels.
    """

    name: str = setting("eclipse", "the option's name", choices=("eclipse",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return forger.published(turned(publication.payload))

    def misbehave(self, node: Node, forger: Callable[[], Forging], seed: int) -> None:
        """Let a node that has just been made lie about others."""
        eclipsing = load("qsynth.attack.peer", "Eclipsing")
        node.table = eclipsing(node.me, node.size, node.dht, node.address, seed)
