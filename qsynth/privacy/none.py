"""The option `none`: packets carry exact statistics, and say nothing of what they give away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qsynth.distill.analytic import Analytic, distil
from qsynth.distill.targets import distil_targets
from qsynth.packet import Payload
from qsynth.privacy.base import PrivacyRule, Release
from qsynth.schema import option, setting
from qsynth.types import Floats32, Ints


@option("privacy")
@dataclass(frozen=True)
class NoPrivacy(PrivacyRule):
    """Send exact statistics: a packet of few samples is close to a list of who is in it."""

    name: str = setting("none", "the option's name", choices=("none",))

    def class_payload(
        self,
        rule: Analytic,
        d: int,
        views: Sequence[Floats32],
        inputs: Floats32 | None,
        labels: Ints,
        classes: int,
        key: bytes,
    ) -> tuple[Payload, Release | None]:
        """Return the exact statistics."""
        return distil(rule, d, views[0], inputs, labels, classes, views[1:]), None

    def target_payload(
        self,
        rule: Analytic,
        d: int,
        features: Floats32,
        inputs: Floats32,
        targets: Floats32,
        kind: str,
        key: bytes,
    ) -> tuple[Payload, Release | None]:
        """Return the exact statistics."""
        return distil_targets(rule, d, features, targets, kind), None
