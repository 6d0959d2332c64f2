"""A node's own training samples as evidence: features, labels, and two folds of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.packet import Statistics, class_statistics, joint_statistics
from qsynth.types import Floats, Floats32, Ints


@dataclass(frozen=True)
class OwnEvidence:
    """Hold a node's own training samples in the shared features, dealt to two folds.

    features: (n, D).  copies: the same samples, changed in ways that leave their labels.
    """

    features: Floats32
    labels: Ints
    folds: tuple[Ints, Ints]
    classes: int
    copies: tuple[Floats32, ...] = ()

    @classmethod
    def from_samples(cls, features: Floats32, labels: Ints, classes: int, seed: int) -> OwnEvidence:
        """Deal every class evenly to two folds."""
        rng = np.random.default_rng([seed, 3])
        sides: tuple[list[int], list[int]] = ([], [])
        turn = 0
        for c in range(classes):
            for index in rng.permutation(np.flatnonzero(labels == c)):
                sides[turn % 2].append(int(index))
                turn += 1
        folds = (np.sort(np.array(sides[0], np.int64)), np.sort(np.array(sides[1], np.int64)))
        return cls(features, labels, folds, classes)

    def statistics(self, d: int, rows: Ints | slice = slice(None)) -> Statistics:
        """Return the node's own statistics of the first d features, unrounded."""
        views = [view[rows, :d] for view in (self.features, *self.copies)]
        labels = np.tile(self.labels[rows], len(views))
        return class_statistics(np.concatenate(views), labels, self.classes, len(views))

    def mean_features(self, d: int) -> Floats:
        """Return (n, d): the mean over the views of each sample."""
        views = [view[:, :d].astype(np.float64) for view in (self.features, *self.copies)]
        mean: Floats = np.mean(views, axis=0)
        return mean


@dataclass(frozen=True)
class TargetEvidence:
    """Hold a node's own training samples, dealt to two folds.

    features: (n, D).  targets: (n, K).
    """

    features: Floats32
    targets: Floats32
    folds: tuple[Ints, Ints]

    @classmethod
    def from_samples(cls, features: Floats32, targets: Floats32, seed: int) -> TargetEvidence:
        """Deal the samples to two folds, alternately in the order of their first target."""
        rng = np.random.default_rng([seed, 3])
        order = np.lexsort((rng.random(len(targets)), targets[:, 0]))
        return cls(features, targets, (np.sort(order[0::2]), np.sort(order[1::2])))

    def statistics(self, d: int, rows: Ints | slice = slice(None)) -> Statistics:
        """Return the node's own joint statistics of its targets and the first d features."""
        return joint_statistics(self.features[rows, :d], self.targets[rows])
