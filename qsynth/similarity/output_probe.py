"""The metric `output_probe`: what a node's class means answer to points of feature space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.schema import option, setting
from qsynth.similarity.base import Metric
from qsynth.types import Floats


@option("similarity")
@dataclass(frozen=True)
class OutputProbe(Metric):
    """Compare nodes by what their class means answer to seeded probes: a control."""

    name: str = setting("output_probe", "the option's name", choices=("output_probe",))
    sketch_d: int = setting(32, "features of a probe", low=4, high=256)
    probes: int = setting(32, "points of feature space that are asked about", low=4, high=256)

    def sketched(self) -> int | None:
        """Return how many of a packet's features count."""
        return self.sketch_d

    def size(self, classes: int) -> int:
        """Return C * probes."""
        return classes * self.probes

    def vector(self, counts: Floats, sums: Floats) -> Floats:
        """Return what a nearest-mean classifier of these means answers to seeded probes, centred.

        Probes are Gaussian around the mean of the class means, as wide as these lie apart.
        """
        present, d = counts > 0, min(self.sketch_d, sums.shape[1])
        answers = np.zeros((self.probes, len(counts)))
        if present.sum() < 2:
            return answers.ravel()
        means = sums[present, :d] / counts[present, None]
        means -= means.mean(axis=0)
        spread = max(float(np.sqrt((means**2).mean())), 1e-12)
        draws = np.random.default_rng([self.probes, self.sketch_d])
        probes = spread * draws.standard_normal((self.probes, self.sketch_d))[:, :d]
        apart = ((probes[:, None, :] - means) ** 2).sum(axis=2) / (2.0 * spread**2)
        likely = np.exp(apart.min(axis=1, keepdims=True) - apart)
        answers[:, present] = likely / likely.sum(axis=1, keepdims=True) - 1.0 / present.sum()
        return answers.ravel()
