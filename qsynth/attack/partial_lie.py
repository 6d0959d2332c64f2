"""The attack `partial_lie`: the truth about a victim's classes, lies about the others."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class PartialLie(Attack):
    """Be honest about the classes that a victim has, and lie about the others."""

    name: str = setting("partial_lie", "the option's name", choices=("partial_lie",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        free = forger.victim.payload["counts"] == 0
        return forger.published(turned(publication.payload, classes=free))
