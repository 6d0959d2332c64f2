"""The option `dp`: packets that are differentially private for one record.

What is guaranteed: with and without any one record of a node, all that the node publishes is nearly
as likely, up to (epsilon, delta).  Packet, fingerprint and teaching inputs are made of one noisy
release; a release of the same records, sent again, is the same and costs nothing.
What is not: a task's units and labels, which its sites agree on; which records are trained on and
which are kept aside; when records change; whom a node asks, once it has judged what others sent by
its own records; and what its owner shows of its predictor.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qsynth.distill.analytic import Analytic, DistillRule
from qsynth.distill.coding import code_statistics
from qsynth.distill.means import code_means
from qsynth.distill.subset import narrow
from qsynth.distill.targets import code_joint
from qsynth.errors import StateError
from qsynth.packet import Payload, Statistics
from qsynth.privacy.accountant import epsilon_of, noise_multiplier
from qsynth.privacy.base import PrivacyRule, check_covered
from qsynth.privacy.contribution import digest_of
from qsynth.privacy.mechanism import (
    GRID,
    ROOM,
    ClassMoments,
    Space,
    clipped,
    likely_classes,
    likely_joint,
    noisy_classes,
    noisy_moments,
)
from qsynth.privacy.noise import KEY_BYTES, Noise
from qsynth.privacy.release import Release
from qsynth.schema import option, setting
from qsynth.similarity import Metric
from qsynth.types import Floats, Floats32, Ints

AUTO_D = 32  # features in a packet where `distill.d` is left to the rule
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
class DifferentialPrivacy(PrivacyRule):
    """Add noise for (epsilon, delta) differential privacy of a record that is added or removed."""

    name: str = setting("dp", "the option's name", choices=("dp",))
    epsilon: float = setting(8.0, "of all that a node publishes, ever", low=0.01, high=100.0)
    delta: float = setting(1e-5, "of the same; far below one over the samples", low=1e-12, high=0.1)
    releases: int = setting(
        1, "of changed records that the budget is for; sent again, the same costs nothing", low=1
    )
    norm: float = setting(1.0, NORM, low=1e-3, high=1e3)

    guarded: ClassVar[bool] = True

    def check_rules(self, distill: DistillRule, similarity: Metric) -> None:
        """Raise ConfigError where another rule tells what this one must not."""
        check_covered(self, distill, similarity)

    def told_samples(self, samples: int) -> int:
        """Return what `distill.d=auto` follows: not the node's own number of samples."""
        return 2 * AUTO_D

    @property
    def multiplier(self) -> float:
        """Return the standard deviation of the noise of a release, over its sensitivity."""
        least = noise_multiplier(self.epsilon * (1.0 - SLACK), self.delta, self.releases)
        return math.ceil(least * 1e6) / 1e6  # the same with another version of the library

    def class_payload(
        self,
        rule: Analytic,
        d: int,
        views: Sequence[Floats32],
        inputs: Floats32 | None,
        labels: Ints,
        classes: int,
        key: bytes,
    ) -> tuple[Payload, Release | None]:
        """Return the arrays of noisy class statistics."""
        norm = self.norm * math.sqrt(d)
        short = [clipped(view[:, :d], norm) for view in views]
        # Of inputs, which are the same numbers on every machine; features are so nearly.
        records = short if inputs is None else [inputs]
        noise, release = self._release([*records, labels], ("classes", classes, d), key)
        moments = noisy_moments(short, release.multiplier, MOMENTS, noise)
        space = Space.of(*moments.centred())
        multiplier = release.multiplier
        released = noisy_classes(short, labels, classes, space, multiplier, CLASSES, noise)
        told = ClassMoments.of(moments, space, released, multiplier, CLASSES)
        units = np.full(d, norm)
        said = scaled(likely_classes(told, rule.min_support), units)
        bare = rule.coding == "means"
        payload = code_means(said) if bare else code_statistics(said, rule.factors, "")
        size = 0 if inputs is None else math.prod(inputs.shape[1:])
        whole = rule.packet_size(d, classes, size) <= rule.max_bytes
        return payload if whole else narrow(payload), release

    def target_payload(
        self,
        rule: Analytic,
        d: int,
        features: Floats32,
        inputs: Floats32,
        targets: Floats32,
        kind: str,
        key: bytes,
    ) -> tuple[Payload, Release | None]:
        """Return the arrays of noisy joint statistics: of one class, over targets and features."""
        count = targets.shape[1]
        both, units = self.joint(d, features, targets)
        noise, release = self._release([inputs, targets], (kind, count, d), key)
        moments = noisy_moments([both], release.multiplier, JOINT, noise)
        joint = scaled(likely_joint(moments, rule.min_support, count), units)
        return code_joint(joint, count, rule.factors), release

    def _release(
        self, records: Sequence[Floats | Floats32 | Ints], size: tuple[str, int, int], key: bytes
    ) -> tuple[Noise, Release]:
        """Return the noise of a release, and what is to be accounted for."""
        self.check_key(key)
        multiplier = self.multiplier
        # All that the released numbers follow from: the same noise on others would take it off.
        made_by = (MECHANISM, MOMENTS, CLASSES, JOINT, LARGEST_TARGET, ROOM, GRID)
        context = digest_of((made_by, multiplier, self.norm, size), *records)
        # Its name must not tell of the records to who reads it: the key is in it.
        digest = hashlib.sha256(key + context).hexdigest()
        return Noise(key, context), Release(digest, multiplier)

    def check_key(self, key: bytes) -> None:
        """Raise StateError where a node has no secret that its noise follows from."""
        if len(key) != KEY_BYTES:
            raise StateError(
                f"privacy={self.name}: this node has no secret, and its noise could be taken off"
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

    def said(self) -> list[str]:
        """Return what is guaranteed of all that leaves, in words."""
        return [
            f"all of it with noise: ({self.epsilon:g}, {self.delta:g})-differential privacy of a "
            f"record that is added or removed, for {self.releases} "
            f"release{'s' * (self.releases > 1)} of changed records (noise multiplier "
            f"{self.multiplier:.3f}); units and labels of the task are outside of it"
        ]

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

    def allows(self, spent: Sequence[float], multiplier: float) -> bool:
        """Return whether a release fits into what is left."""
        return epsilon_of([*spent, multiplier], self.delta) <= self.epsilon

    def told(self, spent: Sequence[float]) -> dict[str, Any] | None:
        """Return guarantee, spent and left as plain values."""
        used = epsilon_of(spent, self.delta)
        return {
            "epsilon": self.epsilon,
            "delta": self.delta,
            "spent": round(used, 4),
            "left": round(max(self.epsilon - used, 0.0), 4),
            "releases": len(spent),
            "neighbours": "one record added or removed",
        }


def scaled(statistics: Statistics, units: Floats) -> Statistics:
    """Return statistics of features in these units, (d,)."""
    return Statistics(
        statistics.counts, statistics.sums * units, statistics.scatter * np.outer(units, units)
    )
