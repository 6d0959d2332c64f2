"""The metric `sketch_mean`: where the inputs of a node lie, whatever their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsynth.schema import option, setting
from qsynth.similarity.base import Metric
from qsynth.types import Floats


@option("similarity")
@dataclass(frozen=True)
class SketchMean(Metric):
    """Compare nodes by the mean of all their features: where labels say nothing, or differ."""

    name: str = setting("sketch_mean", "the option's name", choices=("sketch_mean",))
    sketch_d: int = setting(32, "features of the mean", low=4, high=256)

    of_targets: ClassVar[bool] = True

    def sketched(self) -> int | None:
        """Return how many of a packet's features count."""
        return self.sketch_d

    def size(self, classes: int) -> int:
        """Return sketch_d."""
        return self.sketch_d

    def vector(self, counts: Floats, sums: Floats) -> Floats:
        """Return the mean of the first features, padded with zeros."""
        flat = np.zeros(self.sketch_d)
        d = min(self.sketch_d, sums.shape[1])
        flat[:d] = sums[:, :d].sum(axis=0) / max(float(counts.sum()), 1.0)
        return flat
