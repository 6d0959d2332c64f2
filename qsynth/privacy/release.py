"""What leaves once, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Release:
    """A packet's statistics, once they have been made: what is to be accounted for.

    digest: of the records, of what was made of them and of the noise: the same release, sent again,
    costs nothing.  multiplier: standard deviation of the noise over the sensitivity.
    """

    digest: str
    multiplier: float


class Payer(Protocol):
    """What releases are counted against."""

    def takes(self, release: Release | None) -> bool:
        """Return whether a release may leave; one that may is spent from now on."""
