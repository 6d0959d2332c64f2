"""The attack `forged_fingerprint`: flipped labels under a fingerprint that is not theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class ForgedFingerprint(Attack):
    """Announce a victim's fingerprint beside a packet of flipped labels."""

    name: str = setting("forged_fingerprint", "the option's name", choices=("forged_fingerprint",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        forged = forger.published(turned(publication.payload))
        return replace(forged, fingerprint=forger.victim.fingerprint)
