"""The attack `adaptive`: the lie that does most harm of those that are let in (`rehearsal.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.attack.base import Attack, Forging
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class Adaptive(Attack):
    """Publish the lie that does most harm of those that a victim's own gate would let in.

    Adaptive and targeted: it is rehearsed on what the victim has published.
    """

    rehearsed = True
    name: str = setting("adaptive", "the option's name", choices=("adaptive",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return forger.adapted
