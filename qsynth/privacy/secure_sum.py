"""The option `secure_sum`: exact statistics, of which only the sum over a cohort is ever seen.

What is promised: of less than `smallest` members nobody learns anything, whoever collects included,
if no more than a third of the members lie (`qsynth/cohort`).  What is not: the sum is exact, and
says of a member what its size leaves; who knows the numbers of all others knows the last one's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.distill.analytic import Analytic
from qsynth.distill.subset import most_told
from qsynth.errors import ConfigError
from qsynth.packet import Statistics
from qsynth.privacy.contribution import Contribution, Sum, digest_of, square, triangle
from qsynth.privacy.mechanism import clipped
from qsynth.privacy.pooled import MEMBERS, PooledRule, check_sizes, class_numbers, moment_numbers
from qsynth.schema import option, setting
from qsynth.types import Floats, Floats32, Ints

WIDE = 4.0  # roots of the number of features: longer records are clipped, which are few
WIDE_TARGETS = 16.0  # spreads of a value
SIGN_BITS = 31  # of a number of a sum, without its sign


@option("privacy")
@dataclass(frozen=True)
class SecureSum(PooledRule):
    """Add up exactly: nobody sees the statistics of one node, and the sum has no noise."""

    name: str = setting("secure_sum", "the option's name", choices=("secure_sum",))
    most_samples: int = setting(
        2048, "training samples of a member at most: more of them leave less precision", low=64
    )

    def told_samples(self, samples: int) -> int:
        """Return what `distill.d=auto` follows: all members must have the same."""
        return 128

    def class_sizes(self, d: int, classes: int) -> tuple[int, ...]:
        """Return how many numbers a node adds: counts, sums, and a second moment."""
        return check_sizes((class_numbers(d, classes),), d)

    def not_promised(self) -> list[str]:
        """Return what is not promised of what leaves, a sentence each."""
        return [
            "A bound on what the sum tells: it is exact, and who knows the numbers of all other "
            "members knows the last one's.",
            *MEMBERS,
        ]

    def colluders(self, members: int) -> int:
        """Return a third of the others: as many as may lie."""
        return (members - 1) // 3

    def allows(self, spent: Sequence[float]) -> bool:
        """Return whether records may go into a sum: into one, of which no other is subtracted."""
        return len(spent) <= 1

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
        """Return the numbers of exact class statistics."""
        counts = np.bincount(labels, minlength=classes)
        kept = np.isin(labels, most_told(counts, rule.min_support, classes))
        short = [clipped(view[kept, :d], WIDE * math.sqrt(d)) for view in views]
        steps = ExactClasses(short, labels[kept], classes, d)
        return self._made(rule, steps, f"classes/{classes}", d, (inputs, labels), steps.own[0])

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
        """Return the numbers of exact joint statistics."""
        kept = slice(None) if len(targets) >= rule.min_support else slice(0)
        count = targets.shape[1]
        far, wide = WIDE_TARGETS * math.sqrt(count), WIDE * math.sqrt(d)
        both = np.concatenate(
            [clipped(targets[kept], far), clipped(features[kept, :d], wide)], axis=1
        )
        units = np.concatenate([np.full(count, far), np.full(d, wide)])
        steps = ExactTargets(both, units)
        counts = np.array([float(len(both))])
        terms = f"{kind}/{count}"
        return self._made(rule, steps, terms, d, (inputs, targets), counts, count)

    def _made(
        self,
        rule: Analytic,
        steps: ExactClasses | ExactTargets,
        terms: str,
        d: int,
        records: tuple[Floats32, Floats32 | Ints],
        counts: Floats,
        targets: int = 0,
    ) -> Contribution:
        if len(records[1]) > self.most_samples:
            raise ConfigError(
                f"privacy.most_samples={self.most_samples}: a node has {len(records[1])}; raise "
                "it at all nodes"
            )
        bits = SIGN_BITS - math.ceil(math.log2(self.cohort * self.most_samples))
        cohort = self.cohort_of(f"{terms}/{d}/{self.most_samples}", bits, steps.sizes, d)
        return Contribution(cohort, steps, rule, digest_of(*records), 0.0, counts, targets)

    def said(self) -> list[str]:
        """Return what is promised of all that leaves, in words."""
        return [
            f"of each node nothing but its part in one sum over {self.least} to {self.cohort} "
            "nodes, exact and without noise: nobody can take it apart while no more than a third "
            "of them lie; there is no epsilon (privacy=dp_secure_sum has one)"
        ]


class ExactClasses:
    """Add counts, sums and second moments of classes.  views: (n, d) of length 1 at most."""

    def __init__(self, views: Sequence[Floats], labels: Ints, classes: int, d: int) -> None:
        self.classes, self.d = classes, d
        self.sizes = (class_numbers(d, classes),)
        counts = np.bincount(labels, minlength=classes).astype(np.float64)
        sums, second = np.zeros((classes, d)), np.zeros((d, d))
        for view in views:
            np.add.at(sums, labels, view / len(views))
            second += view.T @ view / len(views)
        self.own = counts, sums, second

    def numbers(self, sums: Sequence[Sum], session: bytes) -> Floats:
        """Return the numbers of the only step."""
        counts, means, second = self.own
        return np.concatenate([counts, means.ravel(), triangle(second)])

    def statistics(self, sums: Sequence[Sum], less: Sequence[Sum] | None = None) -> Statistics:
        """Return the class statistics of a sum."""
        told, cut = sums[0].less(less[0] if less else None).numbers, self.classes
        counts = np.maximum(np.rint(told[:cut]), 0.0)
        totals = told[cut : cut + cut * self.d].reshape(cut, self.d) * (counts > 0.0)[:, None]
        second = square(told[cut + cut * self.d :], self.d)
        means = totals / np.maximum(counts, 1.0)[:, None]
        unit = WIDE * math.sqrt(self.d)
        scatter = valid(second - (means.T * counts) @ means)
        return Statistics(counts, totals * unit, scatter * unit**2)


class ExactTargets:
    """Add count, sum and second moment of (n, k) targets and features together."""

    def __init__(self, both: Floats, units: Floats) -> None:
        k = both.shape[1]
        self.sizes, self.units = (moment_numbers(k),), units
        self._own = np.concatenate([[len(both)], both.sum(axis=0), triangle(both.T @ both)])

    def numbers(self, sums: Sequence[Sum], session: bytes) -> Floats:
        """Return the numbers of the only step."""
        return self._own

    def statistics(self, sums: Sequence[Sum], less: Sequence[Sum] | None = None) -> Statistics:
        """Return the joint statistics of a sum."""
        told, k = sums[0].less(less[0] if less else None).numbers, len(self.units)
        count = max(float(np.rint(told[0])), 0.0)
        total = told[1 : 1 + k] * (count > 0.0)
        scatter = valid(square(told[1 + k :], k) - np.outer(total, total) / max(count, 1.0))
        return Statistics(
            np.array([count]),
            (total * self.units)[None],
            scatter * np.outer(self.units, self.units),
        )


def valid(scatter: Floats) -> Floats:
    """Return the nearest matrix without negative directions: fixed point has rounded it."""
    values, vectors = np.linalg.eigh(scatter)
    made: Floats = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return made
