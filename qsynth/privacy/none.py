"""The option `none`: packets carry exact statistics, and say nothing of what they give away."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.privacy.base import PrivacyRule
from qsynth.schema import option, setting


@option("privacy")
@dataclass(frozen=True)
class NoPrivacy(PrivacyRule):
    """Send exact statistics: a packet of few samples is close to a list of who is in it."""

    name: str = setting("none", "the option's name", choices=("none",))
