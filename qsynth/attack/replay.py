"""The attack `replay`: what an honest node has published."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class Replay(Attack):
    """Publish a victim's own statistics as one's own."""

    name: str = setting("replay", "the option's name", choices=("replay",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return forger.published(forger.victim.payload)
