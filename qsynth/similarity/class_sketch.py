"""The metric `class_sketch`: how the labels of a node lie in the shared features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsynth.schema import option, setting
from qsynth.similarity.base import Metric, cosine
from qsynth.types import Fingerprint, Floats


@option("similarity")
@dataclass(frozen=True)
class ClassSketch(Metric):
    """Compare nodes by their class means in the encoder's first features."""

    name: str = setting("class_sketch", "the option's name", choices=("class_sketch",))
    sketch_d: int = setting(32, "features of each class mean", low=4, high=256)

    of_targets: ClassVar[bool] = True

    def sketched(self) -> int | None:
        """Return how many of a packet's features count."""
        return self.sketch_d

    def size(self, classes: int) -> int:
        """Return C * sketch_d."""
        return classes * self.sketch_d

    def vector(self, counts: Floats, sums: Floats) -> Floats:
        """Return the class means, centred on their mean, of unit length, as one vector.

        Each class is weighted by the root of its share; zeros where a class has no support.
        """
        # Packets of fewer features are padded: all fingerprints of a task have one length.
        means = np.zeros((len(counts), self.sketch_d))
        d = min(self.sketch_d, sums.shape[1])
        means[:, :d] = sums[:, :d] / np.maximum(counts, 1.0)[:, None]
        present = counts > 0
        if not present.any():
            return np.zeros(means.size)
        centred = np.where(present[:, None], means - means[present].mean(axis=0), 0.0)
        lengths = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
        share = np.sqrt(counts / counts.sum())[:, None]
        flat: Floats = (centred / lengths * share).ravel()
        return flat

    def likeness(self, one: Fingerprint, other: Fingerprint) -> float:
        """Return the cosine of the class blocks that neither leaves empty.

        Label skew lowers the cosine of whole fingerprints of one situation, and this not.  Of
        projected fingerprints, which have no blocks, the cosine of the whole.
        """
        if one.shape != other.shape or len(one) % self.sketch_d:
            return cosine(one, other)
        a, b = one.reshape(-1, self.sketch_d), other.reshape(-1, self.sketch_d)
        common = a.any(axis=1) & b.any(axis=1)
        return cosine(a[common].ravel(), b[common].ravel())
