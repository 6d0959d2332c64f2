"""The attack `label_flip`: own statistics under the next label."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class LabelFlip(Attack):
    """Publish one's own statistics under the next label."""

    name: str = setting("label_flip", "the option's name", choices=("label_flip",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return forger.published(turned(publication.payload))
