"""What options share whose nodes add up: the size of a cohort, and whom it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from qsynth.distill.analytic import Analytic, DistillRule
from qsynth.errors import ConfigError
from qsynth.privacy.base import PrivacyRule, check_covered
from qsynth.privacy.contribution import Cohort, quorum
from qsynth.schema import name_of, option, setting
from qsynth.similarity import Metric

MEMBERS = (
    "Members who lie together: more than a third of a cohort can take its sum apart. Without an "
    "authority (mesh.tls) one host can be many members.",
    "That what was added can be taken back.",
)
MOST_NUMBERS = 6_000  # of a sum: of nine bytes each, beside 8 KiB of 64 members, in a message
MESSAGE_BYTES = 65_536  # the same, whatever the number of features
NUMBER_COST = 13  # bytes: four under masks, five in the sum, four of who collects
MEMBER_COST, STEP_COST = 330, 300  # bytes of each other member: keys, shares, signatures
LEAST = 3  # members: of two, each could take itself out


@option("privacy")
@dataclass(frozen=True)
class PooledRule(PrivacyRule):
    """Only the sum over a cohort of alike nodes leaves.  An option subclasses it."""

    cohort: int = setting(
        16,
        "nodes that add up at most; larger ones tell less of each, and take longer to find",
        low=LEAST,
        high=64,
    )
    smallest: int | None = setting(
        None,
        "members whose sum may be opened; null: more than two thirds of the cohort",
        low=LEAST,
        high=64,
    )
    situation: str = setting(
        "",
        "a public tag: nodes of the same one add up. In a run {group}, {site} and {node} stand "
        "for what is true of a node",
    )

    pooled: ClassVar[bool] = True
    guarded: ClassVar[bool] = True

    def check_rules(self, distill: DistillRule, similarity: Metric) -> None:
        """Raise ConfigError where another rule tells what this one must not."""
        if self.least > self.cohort:
            raise ConfigError(
                f"privacy.smallest={self.smallest}: must be <= privacy.cohort={self.cohort}"
            )
        check_covered(self, distill, similarity)
        if isinstance(distill, Analytic) and distill.coding == "means":
            raise ConfigError(
                f"distill.coding=means: a sum of privacy={name_of(self)} has a scatter; use "
                "distill.coding=low_rank"
            )

    @property
    def least(self) -> int:
        """Return how many members a sum must have."""
        return self.smallest or quorum(self.cohort)

    def cohort_of(self, terms: str, fraction_bits: int, sizes: Sequence[int], d: int) -> Cohort:
        """Return what members have in common.

        sizes: numbers, a step.  Raises ConfigError where they are too many for a message.
        """
        check_sizes(sizes, d)
        told = f"{name_of(self)}/{self.cohort}/{self.least}/{terms}/{self.situation}"
        return Cohort(self.cohort, self.least, told, fraction_bits)

    @property
    def message_bytes(self) -> int:
        """Return what a message must hold: of the sums of a cohort."""
        return MESSAGE_BYTES

    def member_bytes(self, sizes: Sequence[int]) -> int:
        """Return about what a member of a full cohort sends and receives, in bytes."""
        return NUMBER_COST * sum(sizes) + self.cohort * (MEMBER_COST + STEP_COST * len(sizes))

    def situated(self, **known: object) -> Self:
        """Return the rule of a node of which this is known: in a run its group, site and name.

        Raises ConfigError where the tag names what is not known.
        """
        here = {name: value for name, value in known.items() if value is not None}
        try:
            return replace(self, situation=self.situation.format(**here))
        except (KeyError, IndexError, ValueError):
            raise ConfigError(
                f"privacy.situation={self.situation}: names what is not known here; give the tag "
                "itself, or in a run {group}, {site} or {node}"
            ) from None


def half(d: int) -> int:
    """Return the numbers of a symmetric (d, d) matrix."""
    return d * (d + 1) // 2


def class_numbers(d: int, classes: int) -> int:
    """Return the numbers of counts and sums of classes, and of a second moment of all."""
    return classes * (1 + d) + half(d)


def moment_numbers(d: int) -> int:
    """Return the numbers of a count, a sum and a second moment."""
    return 1 + d + half(d)


def check_sizes(sizes: Sequence[int], d: int) -> tuple[int, ...]:
    """Return the numbers of each step.  Raises ConfigError where a message does not hold them."""
    if max(sizes) > MOST_NUMBERS:
        raise ConfigError(
            f"distill.d={d}: a sum of {max(sizes)} numbers fits into no message, which holds "
            f"{MOST_NUMBERS}; set distill.d=64"
        )
    return tuple(sizes)
