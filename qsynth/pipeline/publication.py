"""What a node brings in and publishes.  Without torch: a node serves before that is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from qsynth.distill import DistillRule
from qsynth.packet import OutcomePacket, Payload
from qsynth.privacy import Contribution, NoPrivacy, PrivacyRule, Release
from qsynth.schema import name_of
from qsynth.similarity import Metric
from qsynth.synthesis import SynthesisRule
from qsynth.types import Fingerprint, Floats32, Ints

MIN_TRAINING = 4  # samples of a node: two folds of two


@dataclass(frozen=True)
class Samples:
    """Hold a node's own training and validation samples, without augmentation.

    x: (n, *task.shape) float32.  y: (n,) class indices.  unlabelled_x: further inputs of one's
    own, for teaching alone.  reference_x: the public set that everybody has.  ends: number of
    training samples after each batch, where they came in several.
    """

    train_x: Floats32
    train_y: Ints
    validation_x: Floats32
    validation_y: Ints
    unlabelled_x: Floats32 | None = None
    reference_x: Floats32 | None = None
    ends: tuple[int, ...] = ()

    def grown(self, x: Floats32, y: Ints, anew: bool) -> Samples:
        """Return the samples with more training samples; anew: in a batch of their own."""
        ends = self.ends or (len(self.train_y),)
        train_y = np.concatenate([self.train_y, y])
        ends = (*(ends if anew else ends[:-1]), len(train_y))
        train_x = np.concatenate([self.train_x, x])
        return replace(self, train_x=train_x, train_y=train_y, ends=ends if len(ends) > 1 else ())

    def at_most(self, training: int, validation: int, seed: int) -> Samples:
        """Return the same, or a drawn part of them where there are more: in their own order."""
        rng = np.random.default_rng([seed, 7])

        def some(count: int, most: int) -> slice | Ints:
            return slice(None) if count <= most else np.sort(rng.permutation(count)[:most])

        train, kept = some(len(self.train_y), training), some(len(self.validation_y), validation)
        return replace(
            self,
            train_x=self.train_x[train],
            train_y=self.train_y[train],
            validation_x=self.validation_x[kept],
            validation_y=self.validation_y[kept],
            ends=self._ends_of(train),
        )

    def _ends_of(self, rows: slice | Ints) -> tuple[int, ...]:
        """Return the ends of batches of which these rows are left."""
        if isinstance(rows, slice):
            return self.ends
        return tuple(np.searchsorted(rows, self.ends).tolist())


@dataclass(frozen=True)
class Publication:
    """Hold what a node publishes: payload, fingerprint, own samples behind it.

    query: the fingerprint that it looks for; of more classes than it publishes, if so configured.
    shared: whether it may leave; else it only says whom to look for.  releases: what it costs; none
    where nothing is counted.  contribution: what is added to a cohort's sum, where nothing of the
    node's own leaves: payload is then what its owner is shown.
    """

    payload: Payload
    fingerprint: Fingerprint
    support: int
    query: Fingerprint
    shared: bool = True
    releases: tuple[Release, ...] = ()
    contribution: Contribution | None = None

    @classmethod
    def of_cohort(cls, contribution: Contribution, size: int) -> Publication:
        """Return the publication of a node that adds to a sum.  size: of a fingerprint."""
        nothing = np.zeros(size, np.int8)
        support = int(contribution.counts.sum())
        return cls(contribution.shown(), nothing, support, nothing, contribution=contribution)


@dataclass(frozen=True)
class Rules:
    """Hold the configs of the groups distill, similarity, synthesis and privacy."""

    distill: DistillRule
    similarity: Metric
    synthesis: SynthesisRule
    privacy: PrivacyRule = field(default_factory=NoPrivacy)

    @property
    def reader(self) -> DistillRule | None:
        """Return the rule by which packets are read; None where nobody uses what it sends."""
        return self.distill if self.synthesis.needs == name_of(self.distill) else None


def is_new(publication: Publication, packet: OutcomePacket | None, wall_s: float) -> bool:
    """Return whether a publication says more than the packet out there, or that is half expired."""
    if packet is None:
        return publication.support > 0
    payload = publication.payload
    if wall_s > packet.created_s + packet.ttl_s / 2 or packet.payload.keys() != payload.keys():
        return True
    return any(not np.array_equal(packet.payload[key], payload[key]) for key in payload)
