"""The attack `free_rider`: nothing."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class FreeRider(Attack):
    """Publish nothing; without a fingerprint of its own it finds nobody either."""

    name: str = setting("free_rider", "the option's name", choices=("free_rider",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return None
