"""The attack `empty_scatter`: flipped labels without a scatter."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import emptied, turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class EmptyScatter(Attack):
    """Publish flipped labels in all that the fingerprint leaves open, and no scatter.

    Receivers fill it in from their own samples.
    """

    name: str = setting("empty_scatter", "the option's name", choices=("empty_scatter",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return forger.published(emptied(turned(publication.payload, forger.sketched)))
