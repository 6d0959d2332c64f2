"""The option `dp`: packets that are differentially private for one record.

What is guaranteed: with and without any one record of a node, all that the node publishes is nearly
as likely, up to (epsilon, delta).  Packet, fingerprint and teaching inputs are made of noisy sums;
sums of the same records, sent again, are the same and cost nothing.  Where records are added,
`updates` times, each new batch has sums of its own, and each record is in few of them (`tree`).
What is not: a task's units and labels, which its sites agree on; which records are trained on and
which are kept aside; when records change; whom a node asks, once it has judged what others sent by
its own records; and what its owner shows of its predictor.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.distill.analytic import Analytic
from qsynth.distill.coding import code_statistics
from qsynth.distill.means import code_means
from qsynth.distill.subset import narrow
from qsynth.distill.targets import code_joint
from qsynth.packet import Payload
from qsynth.privacy.contribution import digest_of
from qsynth.privacy.gaussian import (
    CLASSES,
    JOINT,
    LARGEST_TARGET,
    MECHANISM,
    MOMENTS,
    GaussianRule,
    scaled,
)
from qsynth.privacy.mechanism import (
    GRID,
    ROOM,
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
from qsynth.privacy.release import Release
from qsynth.privacy.tree import Interval, added_up, intervals, levels
from qsynth.schema import option, setting
from qsynth.types import Floats, Floats32, Ints

AUTO_D = 32  # features in a packet where `distill.d` is left to the rule
FIRST = Interval(0, 0)


@option("privacy")
@dataclass(frozen=True)
class DifferentialPrivacy(GaussianRule):
    """Add noise for (epsilon, delta) differential privacy of a record that is added or removed."""

    name: str = setting("dp", "the option's name", choices=("dp",))
    updates: int = setting(
        0,
        "publications after the first one that the budget is for, each with records that were "
        "added; noise grows with the logarithm of their number",
        low=0,
        high=4_095,
    )

    def told_samples(self, samples: int) -> int:
        """Return what `distill.d=auto` follows: not the node's own number of samples."""
        return 2 * AUTO_D

    @property
    def sums_of_a_record(self) -> int:
        """Return how many noisy sums a record is in at most."""
        return self.releases * levels(self.updates + 1)

    def class_payload(
        self,
        rule: Analytic,
        d: int,
        views: Sequence[Floats32],
        inputs: Floats32 | None,
        labels: Ints,
        classes: int,
        key: bytes,
        ends: Sequence[int] = (),
    ) -> tuple[Payload, tuple[Release, ...]]:
        """Return the arrays of noisy class statistics."""
        norm = self.norm * math.sqrt(d)
        short = [clipped(view[:, :d], norm) for view in views]
        # Of inputs, which are the same numbers on every machine; features are so nearly.
        records = short if inputs is None else [inputs]
        made = self._batches([*records, labels], ("classes", classes, d), key, ends)
        moments, total = made.moments(short, MOMENTS)
        space = Space.of(*moments.centred())

        def classes_in(interval: Interval) -> tuple[Floats, ...]:
            rows = made.rows(interval)
            part = [view[rows] for view in short]
            noise = made.noise[interval]
            return noisy_classes(
                part, labels[rows], classes, space, self.multiplier, CLASSES, noise
            )

        (counts, sums, second), variance = added_up(made.batches, classes_in)
        multiplier = self.multiplier * math.sqrt(variance)
        told = ClassMoments.of(total, space, (counts, sums, second), multiplier, CLASSES)
        units = np.full(d, norm)
        said = scaled(likely_classes(told, rule.min_support), units)
        bare = rule.coding == "means"
        payload = code_means(said) if bare else code_statistics(said, rule.factors, "")
        size = 0 if inputs is None else math.prod(inputs.shape[1:])
        whole = rule.packet_size(d, classes, size) <= rule.max_bytes
        return payload if whole else narrow(payload), made.releases

    def target_payload(
        self,
        rule: Analytic,
        d: int,
        features: Floats32,
        inputs: Floats32,
        targets: Floats32,
        kind: str,
        key: bytes,
        ends: Sequence[int] = (),
    ) -> tuple[Payload, tuple[Release, ...]]:
        """Return the arrays of noisy joint statistics: of one class, over targets and features."""
        count = targets.shape[1]
        both, units = self.joint(d, features, targets)
        made = self._batches([inputs, targets], (kind, count, d), key, ends)
        _, moments = made.moments([both], JOINT)
        joint = scaled(likely_joint(moments, rule.min_support, count), units)
        return code_joint(joint, count, rule.factors), made.releases

    def _batches(
        self,
        records: Sequence[Floats | Floats32 | Ints],
        size: tuple[str, int, int],
        key: bytes,
        ends: Sequence[int],
    ) -> Batches:
        """Return the batches of records that are summed, each with its noise."""
        self.check_key(key)
        # Without updates all records are one batch, whenever they came: a release of its own.
        ends = ends if self.updates and len(ends) > 1 else (len(records[0]),)
        # All that the released numbers follow from: the same noise on others would take it off.
        made_by = (MECHANISM, MOMENTS, CLASSES, JOINT, LARGEST_TARGET, ROOM, GRID)
        context = (made_by, self.multiplier, self.norm, size)
        return Batches(key, context, self.multiplier, records, tuple(ends))

    def said(self) -> list[str]:
        """Return what is guaranteed of all that leaves, in words."""
        times = f"{self.releases} release{'s' * (self.releases > 1)} of changed records"
        grown = ""
        if self.updates:
            grown = (
                f", each with {self.updates} publication{'s' * (self.updates > 1)} after records "
                "were added"
            )
        return [
            f"all of it with noise: ({self.epsilon:g}, {self.delta:g})-differential privacy of a "
            f"record that is added or removed, for {times}{grown} (a record is in "
            f"{self.sums_of_a_record} noisy sum{'s' * (self.sums_of_a_record > 1)} at most, noise "
            f"multiplier {self.multiplier:.3f}); units and labels of the task are outside of it"
        ]

    def not_promised(self) -> list[str]:
        """Return what is not guaranteed of what leaves, a sentence each."""
        grown = "In which batch a record comes: with one more or less, others may come in the next."
        return [*super().not_promised(), *([grown] if self.updates else [])]


class Batches:
    """Records as they came, and the noise of each interval of them.

    made_by: what the released numbers follow from beside the records.  multiplier: of the noise of
    one sum.  ends: number of records after each batch.
    """

    def __init__(
        self,
        key: bytes,
        made_by: tuple[object, ...],
        multiplier: float,
        records: Sequence[Floats | Floats32 | Ints],
        ends: tuple[int, ...],
    ) -> None:
        self.ends, self.batches, self.multiplier = ends, len(ends), multiplier
        self.noise: dict[Interval, Noise] = {}
        made = []
        # Later sums are in a space that the first batch shows: other noise for another one.
        first = digest_of(made_by, *(part[self.rows(FIRST)] for part in records))
        tree = hashlib.sha256(key + b"tree" + first).hexdigest()[:16]
        for interval in intervals(self.batches):
            context = first
            if interval != FIRST:
                own = (part[self.rows(interval)] for part in records)
                context = digest_of(first, interval.level, interval.place, *own)
            self.noise[interval] = Noise(key, context)
            # Its name must not tell of the records to who reads it: the key is in it.
            digest = hashlib.sha256(key + context).hexdigest()
            place = (tree, interval.level, interval.place)
            made.append(Release(digest, multiplier, *place))
        self.releases = tuple(made)

    def rows(self, interval: Interval) -> slice:
        """Return the records of an interval."""
        return interval.rows(self.ends)

    def moments(
        self, views: Sequence[Floats], weights: tuple[float, float, float]
    ) -> tuple[Moments, Moments]:
        """Return the noisy moments of the first batch, and of all."""
        made: dict[Interval, Moments] = {}

        def moments_in(interval: Interval) -> tuple[Floats, ...]:
            part = [view[self.rows(interval)] for view in views]
            told = noisy_moments(part, self.multiplier, weights, self.noise[interval])
            made[interval] = told
            return np.array([told.count]), told.sum, told.second

        (count, total, second), variance = added_up(self.batches, moments_in)
        on_count, on_sum, on_second = (s * math.sqrt(variance) for s in made[FIRST].noise)
        return made[FIRST], Moments(float(count[0]), total, second, (on_count, on_sum, on_second))
