"""What is known of one depth of the tree of sums, and how deep two ids lie together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from qsynth.sums.builder import Held
from qsynth.types import NodeId


@dataclass
class Depth:
    """Hold what is known of one depth: its sum, who holds it, and when to ask again."""

    held: Held | None = None
    author: NodeId = b""
    asking: bool = False
    least: int = 1  # authors that were asked for
    barren: int = 0  # offers in a row that were of no use
    wait: int = 0  # periods
    age: int = 0  # periods since the part was fetched
    asked: Counter[NodeId] = field(default_factory=Counter)

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """Return the receipts of what is held."""
        return self.held.part.leaves if self.held else ()


def common_bits(one: bytes, other: bytes) -> int:
    """Return how many leading bits two ids share."""
    size = min(len(one), len(other))
    apart = int.from_bytes(one[:size], "big") ^ int.from_bytes(other[:size], "big")
    return 8 * size - apart.bit_length()
