"""The attack `noise`: class means that are noise of the usual size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.attack.base import Attack, Forging
from qsynth.attack.payloads import COLUMNS
from qsynth.packet import Payload
from qsynth.pipeline.publication import Publication
from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class Noise(Attack):
    """Publish class means that are noise of the usual size."""

    name: str = setting("noise", "the option's name", choices=("noise",))

    def forged(self, forger: Forging, publication: Publication, period: int) -> Publication | None:
        """Return what is published instead."""
        return forger.published(noisy(publication.payload, forger.seed))


def noisy(payload: Payload, seed: int) -> Payload:
    """Return a payload with class means that are noise."""
    rng = np.random.default_rng([seed, 20])
    made = dict(payload)
    for key in COLUMNS:
        if key in made:
            shape = made[key].shape
            low, high = (-127, 128) if key == "means" else (0, 15)
            noise = rng.integers(low, high, shape)
            if key == "mean_codes":
                noise = noise << 4 | rng.integers(low, high, shape)
            made[key] = noise.astype(made[key].dtype)
    return made
