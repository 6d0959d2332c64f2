"""The metric `label_histogram`: which labels a node has, and how many of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.schema import option, setting
from qsynth.similarity.base import Metric
from qsynth.types import Floats


@option("similarity")
@dataclass(frozen=True)
class LabelHistogram(Metric):
    """Compare nodes by their label shares alone: a control."""

    name: str = setting("label_histogram", "the option's name", choices=("label_histogram",))

    def size(self, classes: int) -> int:
        """Return C."""
        return classes

    def vector(self, counts: Floats, sums: Floats) -> Floats:
        """Return the roots of the label shares: the Bhattacharyya coefficient is their cosine."""
        shares: Floats = np.sqrt(counts / max(float(counts.sum()), 1.0))
        return shares
