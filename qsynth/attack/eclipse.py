"""The attack `eclipse`: lookups that end nowhere (`peer.py`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsynth.attack.base import Forging
from qsynth.attack.label_flip import LabelFlip
from qsynth.lazy import load
from qsynth.schema import option, setting

if TYPE_CHECKING:
    from qsynth.protocol.node import Node


@option("attack")
@dataclass(frozen=True)
class Eclipse(LabelFlip):
    """Answer lookups with made-up nodes that are exactly what is asked for.

    And publish flipped labels.
    """

    name: str = setting("eclipse", "the option's name", choices=("eclipse",))

    def misbehave(self, node: Node, forger: Callable[[], Forging], seed: int) -> None:
        """Let a node that has just been made lie about others."""
        eclipsing = load("qsynth.attack.peer", "Eclipsing")
        node.table = eclipsing(node.me, node.size, node.dht, node.address, seed)
