"""What options have that add Gaussian noise: a guarantee, its noise, and what of it is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qsynth.distill.analytic import DistillRule
from qsynth.errors import StateError
from qsynth.packet import Statistics
from qsynth.privacy.accountant import epsilon_of, noise_multiplier
from qsynth.privacy.base import PrivacyRule, check_covered
from qsynth.privacy.mechanism import clipped
from qsynth.privacy.noise import KEY_BYTES
from qsynth.schema import name_of, option, setting
from qsynth.similarity import Metric
from qsynth.types import Floats, Floats32

# Weights of what is released, whose squares add up to 1; chosen on seeds 5 to 7 of Fashion-MNIST.
MOMENTS = (0.05, 0.15, 0.3)  # of count, sum and second moment
CLASSES = (0.15, 0.743, 0.556)  # of the counts and sums of classes, and the second moment
JOINT = (0.2, 0.4, 0.894)  # of count, sum and second moment of targets and features together
LARGEST_TARGET = 3.0  # of a value, in spreads of its task; a larger one is clipped
NORM = (
    "of a record's features, over the root of their number: longer ones are clipped. Public: never "
    "chosen on the node's own records"
)
SLACK = 1e-6  # of epsilon that is never spent: room for rounding
MECHANISM = 2  # raise it when anything of what is released is made otherwise


@option("privacy")
@dataclass(frozen=True)
class GaussianRule(PrivacyRule):
    """Noise for (epsilon, delta) differential privacy of a record that is added or removed."""

    epsilon: float = setting(8.0, "of all that a node publishes, ever", low=0.01, high=100.0)
    delta: float = setting(1e-5, "of the same; far below one over the samples", low=1e-12, high=0.1)
    releases: int = setting(
        1, "of changed records that the budget is for; sent again, the same costs nothing", low=1
    )
    norm: float = setting(1.0, NORM, low=1e-3, high=1e3)

    guarded: ClassVar[bool] = True
    noisy: ClassVar[bool] = True

    def check_rules(self, distill: DistillRule, similarity: Metric) -> None:
        """Raise ConfigError where another rule tells what this one must not."""
        check_covered(self, distill, similarity)

    @property
    def sums_of_a_record(self) -> int:
        """Return how many noisy sums a record is in at most."""
        return self.releases

    @property
    def multiplier(self) -> float:
        """Return the standard deviation of the noise of a sum, over its sensitivity."""
        epsilon = self.epsilon * (1.0 - SLACK)
        least = noise_multiplier(epsilon, self.delta, self.sums_of_a_record)
        return math.ceil(least * 1e6) / 1e6  # the same with another version of the library

    def check_key(self, key: bytes) -> None:
        """Raise StateError where a node has no secret that its noise follows from."""
        if len(key) != KEY_BYTES:
            raise StateError(
                f"privacy={name_of(self)}: this node has no secret, and its noise could be taken "
                "off"
            )

    def joint(self, d: int, features: Floats32, targets: Floats32) -> tuple[Floats, Floats]:
        """Return (n, K + d) records of length 1 at most, and the (K + d,) units that they are in.

        features: (n, D >= d).  targets: (n, K).  Either half is clipped to a length of its own.
        """
        count, norm = targets.shape[1], self.norm * math.sqrt(d)
        most = LARGEST_TARGET * math.sqrt(count)
        both = np.concatenate([clipped(targets, most), clipped(features[:, :d], norm)], axis=1)
        units = np.concatenate([np.full(count, most), np.full(d, norm)])
        return both / math.sqrt(2.0), units * math.sqrt(2.0)

    def not_promised(self) -> list[str]:
        """Return what is not guaranteed of what leaves, a sentence each."""
        return [
            "Which records are trained on and which are kept aside: the split into training, "
            "validation and test moves with the number of records.",
            "Several records of one person: the guarantee is for one record.",
            "Units, labels and columns of the task, on which sites agree; and when, and whether, "
            "records change.",
            "Whom the node asks for packets once it has judged others by its own records, and what "
            "its owner shows of its predictor.",
            "A second home or run over the same records: each counts for itself, and they add up.",
        ]

    def allows(self, spent: Sequence[float]) -> bool:
        """Return whether so much may be spent."""
        return epsilon_of(spent, self.delta) <= self.epsilon

    def told(self, spent: Sequence[float]) -> dict[str, Any] | None:
        """Return guarantee, spent and left as plain values."""
        used = epsilon_of(spent, self.delta)
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "spent": round(used, 4),
            "left": round(max(self.epsilon - used, 0.0), 4),
            "neighbours": "one record added or removed",
        }


def scaled(statistics: Statistics, units: Floats) -> Statistics:
    """Return statistics of features in these units, (d,)."""
    return Statistics(
        statistics.counts, statistics.sums * units, statistics.scatter * np.outer(units, units)
    )
