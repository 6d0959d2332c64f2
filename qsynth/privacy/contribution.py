"""What a node adds to the sum of a cohort, and what the sum says.

A contribution is numbers, in steps: those of a later step may follow from the sums before it.
Whoever has a part in a sum takes it out again: its own evidence it has exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from qsynth.distill import Evidence
from qsynth.distill.analytic import Analytic
from qsynth.distill.coding import code_statistics
from qsynth.distill.targets import code_joint, decode_joint, features_of
from qsynth.packet import Payload, Statistics
from qsynth.privacy.release import Payer, Release
from qsynth.types import Floats


@dataclass(frozen=True)
class Sum:
    """Hold the sum of a step, and how many have added to it."""

    numbers: Floats
    members: int

    def less(self, some: Sum | None) -> Sum:
        """Return the sum of the others, where the numbers of some members are given."""
        if some is None:
            return self
        return Sum(self.numbers - some.numbers, self.members - some.members)


def quorum(members: int) -> int:
    """Return the least number that is more than two thirds: of two such sets most are in both."""
    return 2 * members // 3 + 1


@dataclass(frozen=True)
class Cohort:
    """Hold what all members of a cohort have in common.

    size: members at most.  smallest: members whose sum may be opened.  terms: what else the numbers
    follow from; nodes of other terms never meet.  fraction_bits: of a number in fixed point.
    """

    size: int
    smallest: int
    terms: str
    fraction_bits: int


class Steps(Protocol):
    """How an option makes numbers of records, and statistics of sums."""

    @property
    def sizes(self) -> Sequence[int]:
        """Return how many numbers each step has."""

    def numbers(self, sums: Sequence[Sum], session: bytes) -> Floats:
        """Return the numbers of the step after these sums."""

    def statistics(self, sums: Sequence[Sum], less: Sequence[Sum] | None = None) -> Statistics:
        """Return what sums say: class statistics, or those of targets and features together.

        less: the numbers of members who are taken out.
        """


class Contribution:
    """Numbers of one node for a cohort, and what has been paid for them.

    records: digest of what they are made of.  multiplier: of the noise, 0 without any.  counts:
    samples by class, for the owner alone.  targets: how many labels or values there are; 0 of
    classes.
    """

    def __init__(
        self,
        cohort: Cohort,
        steps: Steps,
        rule: Analytic,
        records: bytes,
        multiplier: float,
        counts: Floats,
        targets: int = 0,
    ) -> None:
        self.cohort, self.steps, self.rule = cohort, steps, rule
        self.records, self.multiplier, self.counts = records, multiplier, counts
        self.targets = targets
        self.budget: Payer | None = None

    @property
    def most(self) -> int:
        """Return how many members a cohort has at most."""
        return self.cohort.size

    @property
    def smallest(self) -> int:
        """Return how many members a sum must have."""
        return self.cohort.smallest

    @property
    def fraction_bits(self) -> int:
        """Return the bits of a fraction in fixed point."""
        return self.cohort.fraction_bits

    @property
    def sizes(self) -> Sequence[int]:
        """Return how many numbers each step has."""
        return self.steps.sizes

    def shown(self) -> Payload:
        """Return what its owner is told of it: nobody else is."""
        return {
            "counts": self.counts.astype(np.int64),
            "records": np.frombuffer(self.records, np.uint8),
        }

    def pay(self, session: bytes) -> bool:
        """Return whether numbers may leave in a session; one that may is spent from now on.

        Raises StateError where that cannot be written.
        """
        digest = hashlib.sha256(self.records + session).hexdigest()
        return self.budget is not None and self.budget.takes([Release(digest, self.multiplier)])

    def numbers(self, sums: Sequence[Sum], session: bytes) -> Floats:
        """Return the numbers of the step after these sums."""
        return self.steps.numbers(sums, session)

    def given(self, sums: Sequence[Sum], session: bytes) -> list[Sum]:
        """Return what this node has added to sums: the same numbers again."""
        return [Sum(self.numbers(sums[:step], session), 1) for step in range(len(sums))]

    def payload(self, sums: Sequence[Sum]) -> Payload:
        """Return the arrays of a packet that says what the sums say."""
        said = self.steps.statistics(sums)
        if self.targets:
            return code_joint(said, self.targets, self.rule.factors)
        return code_statistics(said, self.rule.factors, "")

    def others(self, sums: Sequence[Sum], session: bytes) -> Evidence:
        """Return what the sums say of the other members: one's own numbers taken out."""
        said = self.steps.statistics(sums, self.given(sums, session))
        if self.targets:
            payload = code_joint(said, self.targets, self.rule.factors)
            features = features_of(said, self.targets)
            return Evidence(features, joint=decode_joint(payload, features))
        return Evidence(said)


def triangle(matrix: Floats) -> Floats:
    """Return the (d (d + 1) / 2,) numbers of a symmetric (d, d) matrix."""
    made: Floats = matrix[np.triu_indices(len(matrix))]
    return made


def square(numbers: Floats, d: int) -> Floats:
    """Return the symmetric (d, d) matrix of its numbers."""
    made = np.zeros((d, d))
    made[np.triu_indices(d)] = numbers
    upper: Floats = np.triu(made, 1)
    return made + upper.T


def digest_of(*parts: object) -> bytes:
    """Return the SHA-256 of arrays and values, with their shapes and kinds."""
    hashed = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            hashed.update(repr((part.shape, str(part.dtype))).encode())
            hashed.update(np.ascontiguousarray(part).tobytes())
        else:
            hashed.update(repr(part).encode())
    return hashed.digest()
