"""The attack `fake_authors`: authors that are gone and never were (`peer.py`)."""

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
class FakeAuthors(LabelFlip):
    """Tell of authors that are gone and never were, ever new ones, and give packets that lie.

    And publish flipped labels.
    """

    name: str = setting("fake_authors", "the option's name", choices=("fake_authors",))
    authors: int = setting(40, "told of in an answer", low=1, high=64)

    def misbehave(self, node: Node, forger: Callable[[], Forging], seed: int) -> None:
        """Let a node that has just been made lie about others."""
        invented = load("qsynth.attack.peer", "Inventing")
        node.replication = invented(node, forger(), self.authors, seed)
