"""What options share whose nodes add up: the size of a cohort, and whom it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from qsynth.distill.analytic import Analytic, DistillRule
from qsynth.errors import ConfigError
from qsynth.privacy.base import PrivacyRule
from qsynth.privacy.contribution import Cohort
from qsynth.schema import name_of, option, setting
from qsynth.similarity import Metric

MEMBERS = (
    "Members who lie together: more than a third of a cohort can take its sum apart. Without an "
    "authority (mesh.tls) one host can be many members.",
    "That what was added can be taken back.",
)
MOST_NUMBERS = 11_000  # of a sum: of five bytes each, in a message of 64 KiB
NUMBER_COST = 13  # bytes: four under masks, five in the sum, four of who gathers
MEMBER_COST, STEP_COST = 330, 300  # bytes of each other member: keys, shares, signatures
LEAST = 3  # members: of two, each could take itself out
COHORT = (
    "nodes that add up at most; larger ones tell less of each, and take longer to find together"
)
SMALLEST = "members whose sum may be opened; null: two thirds of the cohort, and one"
SITUATION = (
    "a public tag: nodes of the same one add up. In a run {group}, {site} and {node} stand for "
    "what is true of a node"
)


@option("privacy")
@dataclass(frozen=True)
class PooledRule(PrivacyRule):
    """Only the sum over a cohort of alike nodes leaves.  An option subclasses it."""

    cohort: int = setting(16, COHORT, low=LEAST, high=64)
    smallest: int | None = setting(None, SMALLEST, low=LEAST, high=64)
    situation: str = setting("", SITUATION)

    pooled: ClassVar[bool] = True
    guarded: ClassVar[bool] = True

    def check_cohort(self) -> None:
        """Raise ConfigError where no cohort can be large enough."""
        if self.least > self.cohort:
            raise ConfigError(
                f"privacy.smallest={self.smallest}: must be <= privacy.cohort={self.cohort}"
            )

    @property
    def least(self) -> int:
        """Return how many members a sum must have."""
        return self.smallest or 2 * self.cohort // 3 + 1

    def cohort_of(self, terms: str, fraction_bits: int, sizes: Sequence[int], d: int) -> Cohort:
        """Return what members have in common.

        sizes: numbers, a step.  Raises ConfigError where they are too many for a message.
        """
        check_sizes(sizes, d)
        told = f"{name_of(self)}/{self.cohort}/{self.least}/{terms}/{self.situation}"
        return Cohort(self.cohort, self.least, told, fraction_bits)

    def member_bytes(self, sizes: Sequence[int]) -> int:
        """Return about what a member of a full cohort sends and receives, in bytes."""
        return NUMBER_COST * sum(sizes) + self.cohort * (MEMBER_COST + STEP_COST * len(sizes))

    def situated(self, **known: object) -> Self:
        """Return the rule of a node of a run, of which this is known."""
        try:
            return replace(self, situation=self.situation.format(**known))
        except (KeyError, IndexError, ValueError):
            raise ConfigError(
                f"privacy.situation={self.situation}: knows {{group}}, {{site}} and {{node}} alone"
            ) from None


def half(d: int) -> int:
    """Return the numbers of a symmetric (d, d) matrix."""
    return d * (d + 1) // 2


def check_sizes(sizes: Sequence[int], d: int) -> tuple[int, ...]:
    """Return the numbers of each step.  Raises ConfigError where a message does not hold them."""
    if max(sizes) > MOST_NUMBERS:
        raise ConfigError(
            f"distill.d={d}: a sum of {max(sizes)} numbers fits into no message, which holds "
            f"{MOST_NUMBERS}; set distill.d=64"
        )
    return tuple(sizes)


def check_adds(rule: PrivacyRule, distill: DistillRule, similarity: Metric) -> None:
    """Raise ConfigError where packets carry what is not in a sum."""
    name = name_of(rule)
    if not isinstance(distill, Analytic):
        raise ConfigError(
            f"distill.name={name_of(distill)}: says what privacy={name} has no sum for; use "
            "distill=analytic"
        )
    if distill.coding == "means":
        raise ConfigError(
            f"distill.coding=means: a sum of privacy={name} has a scatter; use distill.coding=full"
        )
    if distill.tells_inputs:
        raise ConfigError(
            f"distill.input_rank={distill.input_rank}: statistics of raw inputs are in no sum of "
            f"privacy={name}; set synthesis.teach.inputs=own_mix"
        )
    if similarity.query_support is not None:
        raise ConfigError(
            f"similarity.query_support={similarity.query_support}: lookups would tell of exact "
            f"statistics; privacy={name} needs null"
        )
