"""The attack `sybil`: one flipped packet under many identities."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class Sybil(Attack):
    """Publish one and the same flipped packet under the identity of every attacker."""

    name: str = setting("sybil", "the option's name", choices=("sybil",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return forger.published(turned(forger.accomplice.payload))
