"""The attack `sybil_around`: a victim's fingerprint, and flipped labels."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class SybilAround(Attack):
    """Publish packets with a victim's fingerprint and flipped labels in all that it leaves open.

    Adaptive and targeted: every attacker becomes the victim's nearest neighbour.
    """

    name: str = setting("sybil_around", "the option's name", choices=("sybil_around",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return forger.published(turned(forger.victim.payload, forger.sketched))
