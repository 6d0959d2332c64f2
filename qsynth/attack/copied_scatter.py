"""The attack `copied_scatter`: flipped labels with a victim's scatter."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import rescattered, turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class CopiedScatter(Attack):
    """Publish flipped labels in all that the fingerprint leaves open, and a victim's scatter."""

    name: str = setting("copied_scatter", "the option's name", choices=("copied_scatter",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        payload = turned(publication.payload, forger.sketched)
        return forger.published(rescattered(payload, forger.victim.payload))
