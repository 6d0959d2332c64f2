"""The option `dp_secure_sum`: the sum of a cohort, with noise of which each member adds its share.

What is guaranteed: the sum is (epsilon, delta)-differentially private for one record, if no more
than `colluding` of those whose numbers are in it tell others theirs, and no more than a third of
the members lie (`qsynth/cohort`).  The noise of `smallest` members less `colluding` is enough; when
more add, there is more of it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.distill.analytic import Analytic, DistillRule
from qsynth.errors import ConfigError
from qsynth.packet import Statistics
from qsynth.privacy.contribution import Cohort, Contribution, Sum, digest_of, square, triangle
from qsynth.privacy.gaussian import CLASSES, JOINT, MECHANISM, MOMENTS, NORM, GaussianRule, scaled
from qsynth.privacy.mechanism import (
    ClassMoments,
    Moments,
    Space,
    clipped,
    likely_classes,
    likely_joint,
    noisy_classes,
    noisy_moments,
)
from qsynth.privacy.noise import Noise
from qsynth.privacy.pooled import MEMBERS, PooledRule, check_sizes, class_numbers, moment_numbers
from qsynth.schema import option, setting
from qsynth.similarity import Metric
from qsynth.types import Floats, Floats32, Ints

AUTO_D = 64  # features where `distill.d` is left to the rule
FRACTION_BITS = 8  # far below the noise, and room for half a million records of each of 16 members


@option("privacy")
@dataclass(frozen=True)
class DpSecureSum(PooledRule, GaussianRule):
    """Add up with noise: nobody sees the statistics of one node, and the sum is private."""

    name: str = setting("dp_secure_sum", "the option's name", choices=("dp_secure_sum",))
    colluding: int = setting(
        1, "members who may tell others their own numbers: their noise does not count", low=0
    )
    norm: float = setting(2.0, NORM, low=1e-3, high=1e3)

    def check_rules(self, distill: DistillRule, similarity: Metric) -> None:
        """Raise ConfigError where another rule tells what this one must not."""
        super().check_rules(distill, similarity)
        if self.least - self.colluding < 1:
            raise ConfigError(
                f"privacy.colluding={self.colluding}: must be < privacy.smallest={self.least}"
            )

    def told_samples(self, samples: int) -> int:
        """Return what `distill.d=auto` follows: all members must have the same."""
        return 2 * AUTO_D

    def class_sizes(self, d: int, classes: int) -> tuple[int, ...]:
        """Return how many numbers a node adds: moments, then those of classes."""
        return check_sizes((moment_numbers(d), class_numbers(d, classes)), d)

    def not_promised(self) -> list[str]:
        """Return what is not guaranteed of what leaves, a sentence each."""
        return [*MEMBERS, *super().not_promised()]

    def colluders(self, members: int) -> int:
        """Return how many the guarantee allows for."""
        return min(self.colluding, members - 1)

    @property
    def share(self) -> float:
        """Return the standard deviation of one member's noise, over the sensitivity."""
        return self.multiplier / math.sqrt(self.honest)

    @property
    def honest(self) -> int:
        """Return how many members give the noise that the guarantee rests on."""
        return self.least - self.colluding

    def _cohort(self, terms: str, sizes: Sequence[int], d: int) -> Cohort:
        guarantee = (MECHANISM, self.epsilon, self.delta, self.releases, self.norm, self.colluding)
        return self.cohort_of(f"{terms}/{guarantee}", FRACTION_BITS, sizes, d)

    def class_contribution(
        self,
        rule: Analytic,
        d: int,
        views: Sequence[Floats32],
        inputs: Floats32,
        labels: Ints,
        classes: int,
        key: bytes,
    ) -> Contribution:
        """Return the numbers of noisy class statistics: moments, then class means."""
        self.check_key(key)
        norm = self.norm * math.sqrt(d)
        short = [clipped(view[:, :d], norm) for view in views]
        records = digest_of(inputs, labels)
        steps = NoisyClasses(
            short, labels, classes, norm, self.share, key, records, rule.min_support
        )
        counts = np.bincount(labels, minlength=classes).astype(np.float64)
        cohort = self._cohort(f"classes/{classes}/{d}", steps.sizes, d)
        return Contribution(cohort, steps, rule, records, self.multiplier, counts)

    def target_contribution(
        self,
        rule: Analytic,
        d: int,
        features: Floats32,
        inputs: Floats32,
        targets: Floats32,
        kind: str,
        key: bytes,
    ) -> Contribution:
        """Return the numbers of noisy joint statistics."""
        self.check_key(key)
        count, records = targets.shape[1], digest_of(inputs, targets)
        both, units = self.joint(d, features, targets)
        steps = NoisyTargets(both, units, count, self.share, key, records, rule.min_support)
        cohort = self._cohort(f"{kind}/{count}/{d}", steps.sizes, d)
        counts = np.array([float(len(targets))])
        return Contribution(cohort, steps, rule, records, self.multiplier, counts, count)

    def said(self) -> list[str]:
        """Return what is guaranteed of all that leaves, in words."""
        return [
            f"of each node nothing but its part in a sum over {self.least} to {self.cohort} nodes, "
            f"with noise: ({self.epsilon:g}, {self.delta:g})-differential privacy of a record that "
            f"is added or removed, for {self.releases} sum{'s' * (self.releases > 1)}, while "
            f"{self.colluding} of them at most tell{'s' * (self.colluding == 1)} others its "
            f"numbers and no more than a third lie; units and labels of the task are outside of it"
        ]


def _moments(numbers: Floats, d: int, multiplier: float, weights: tuple[float, ...]) -> Moments:
    """Return the moments that numbers hold.  multiplier: of all noise in them."""
    on_count, on_sum, on_second = (multiplier / weight for weight in weights)
    return Moments(
        float(numbers[0]),
        numbers[1 : 1 + d],
        square(numbers[1 + d :], d),
        (on_count, on_sum, on_second),
    )


def _numbers(moments: Moments) -> Floats:
    return np.concatenate([[moments.count], moments.sum, triangle(moments.second)])


def _noise(key: bytes, records: bytes, sums: Sequence[Sum], session: bytes) -> Noise:
    """Return the noise of a step: the same for the same session and sums alone."""
    seen = digest_of(*(part for s in sums for part in (s.numbers, s.members)))
    return Noise(key, hashlib.sha256(b"cohort" + records + session + seen).digest())


class NoisyClasses:
    """Add noisy moments; then noisy counts and sums of classes, in the space that these show.

    views: (n, d) over the norm, of length 1 at most.  share: of the noise.
    """

    def __init__(
        self,
        views: Sequence[Floats],
        labels: Ints,
        classes: int,
        norm: float,
        share: float,
        key: bytes,
        records: bytes,
        min_support: int,
    ) -> None:
        self.views, self.labels, self.classes = views, labels, classes
        self.d, self.norm, self.share = views[0].shape[1], norm, share
        self.key, self.records, self.min_support = key, records, min_support
        self.sizes = (moment_numbers(self.d), class_numbers(self.d, classes))

    def numbers(self, sums: Sequence[Sum], session: bytes) -> Floats:
        """Return the numbers of the step after these sums."""
        noise = _noise(self.key, self.records, sums, session)
        if not sums:
            return _numbers(noisy_moments(self.views, self.share, MOMENTS, noise))
        counts, totals, second = noisy_classes(
            self.views, self.labels, self.classes, self._space(sums[0]), self.share, CLASSES, noise
        )
        return np.concatenate([counts, totals.ravel(), triangle(second)])

    def _of(self, told: Sum) -> Moments:
        multiplier = self.share * math.sqrt(told.members)
        return _moments(told.numbers, self.d, multiplier, MOMENTS)

    def _space(self, told: Sum) -> Space:
        return Space.of(*self._of(told).centred())

    def statistics(self, sums: Sequence[Sum], less: Sequence[Sum] | None = None) -> Statistics:
        """Return the class statistics that noisy sums make likely."""
        space, own = self._space(sums[0]), less or (None, None)
        moments = self._of(sums[0].less(own[0]))
        left = sums[1].less(own[1])
        cut = self.classes * (1 + self.d)
        released = (
            left.numbers[: self.classes],
            left.numbers[self.classes : cut].reshape(self.classes, self.d),
            square(left.numbers[cut:], self.d),
        )
        multiplier = self.share * math.sqrt(left.members)
        told = ClassMoments.of(moments, space, released, multiplier, CLASSES)
        said = likely_classes(told, self.min_support)
        return scaled(said, np.full(self.d, self.norm))


class NoisyTargets:
    """Add noisy moments of targets and features together.  both: (n, k) of length 1 at most."""

    def __init__(
        self,
        both: Floats,
        units: Floats,
        targets: int,
        share: float,
        key: bytes,
        records: bytes,
        min_support: int,
    ) -> None:
        self.both, self.units, self.targets, self.share = both, units, targets, share
        self.key, self.records, self.min_support = key, records, min_support
        k = len(units)
        self.sizes = (moment_numbers(k),)

    def numbers(self, sums: Sequence[Sum], session: bytes) -> Floats:
        """Return the numbers of the only step."""
        noise = _noise(self.key, self.records, sums, session)
        return _numbers(noisy_moments([self.both], self.share, JOINT, noise))

    def statistics(self, sums: Sequence[Sum], less: Sequence[Sum] | None = None) -> Statistics:
        """Return the joint statistics that a noisy sum makes likely."""
        left = sums[0].less(less[0] if less else None)
        multiplier = self.share * math.sqrt(left.members)
        moments = _moments(left.numbers, len(self.units), multiplier, JOINT)
        return scaled(likely_joint(moments, self.min_support, self.targets), self.units)
