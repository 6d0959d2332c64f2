"""The attack `turncoat`: honest packets at first."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class Turncoat(Attack):
    """Be honest at first, then publish flipped labels."""

    name: str = setting("turncoat", "the option's name", choices=("turncoat",))
    period: int = setting(5, "the first in which it lies", low=1)

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        if period < self.period:
            return publication
        return forger.published(turned(publication.payload))
