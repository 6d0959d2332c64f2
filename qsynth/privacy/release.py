"""What leaves once, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Release:
    """A noisy sum of records, once it has been made: what is to be accounted for.

    digest: of the records, of what was made of them and of the noise: the same release, sent again,
    costs nothing.  multiplier: standard deviation of the noise over the sensitivity.  tree, level,
    place: of which batches of growing records it is the sum (`privacy/tree`): those of one level
    of a tree have no record in common.  "": it may have any.
    """

    digest: str
    multiplier: float
    tree: str = ""
    level: int = 0
    place: int = 0


class Payer(Protocol):
    """What releases are counted against."""

    def takes(self, releases: Sequence[Release]) -> bool:
        """Return whether releases may leave together; those that may are spent from now on."""
