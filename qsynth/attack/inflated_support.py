"""The attack `inflated_support`: flipped labels, and many times the samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import turned
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting

MOST = 10_000_000  # samples that a packet may claim


@option("attack")
@dataclass(frozen=True)
class InflatedSupport(Attack):
    """Publish flipped labels and claim many times the samples."""

    name: str = setting("inflated_support", "the option's name", choices=("inflated_support",))
    factor: int = setting(100, "times the true samples that are claimed", low=1, high=10000)

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        payload = turned(publication.payload)
        counts = payload["counts"].astype(np.uint64) * np.uint64(self.factor)
        payload["counts"] = np.minimum(counts, MOST).astype(np.uint32)
        return forger.published(payload)
