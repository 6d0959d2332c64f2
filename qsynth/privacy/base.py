"""What a privacy rule is: how a node's packet is made of its records, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from qsynth.distill.analytic import Analytic, DistillRule, distil
from qsynth.distill.targets import distil_targets
from qsynth.errors import ConfigError
from qsynth.packet import Payload
from qsynth.privacy.contribution import Contribution
from qsynth.privacy.release import Release
from qsynth.schema import name_of, option
from qsynth.similarity import Metric
from qsynth.types import Floats32, Ints


def check_covered(rule: PrivacyRule, distill: DistillRule, similarity: Metric) -> None:
    """Raise ConfigError where something leaves that a rule does not cover: statistics alone are."""
    name = f"privacy={name_of(rule)}"
    if not isinstance(distill, Analytic):
        raise ConfigError(
            f"distill.name={name_of(distill)}: sends what {name} does not cover; use "
            "distill=analytic"
        )
    if distill.tells_inputs:
        raise ConfigError(
            f"distill.input_rank={distill.input_rank}: {name} does not cover statistics of raw "
            "inputs; set synthesis.teach.inputs=own_mix"
        )
    if similarity.query_support is not None:
        raise ConfigError(
            f"similarity.query_support={similarity.query_support}: lookups would tell of exact "
            f"statistics; {name} needs null"
        )


@option("privacy")
@dataclass(frozen=True)
class PrivacyRule:
    """What a packet tells of one record: all, by exact statistics.  An option subclasses it."""

    guarded: ClassVar[bool] = False  # whether releases are counted, by a secret of the node
    noisy: ClassVar[bool] = False  # whether two packets may differ by one record
    pooled: ClassVar[bool] = False  # whether sums over several nodes leave, and nothing else

    def check_rules(self, distill: DistillRule, similarity: Metric) -> None:
        """Raise ConfigError where another rule tells what this one must not."""

    def told_samples(self, samples: int) -> int:
        """Return the number of samples that sizes of a packet may follow."""
        return samples

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
        """Return a packet's arrays of class statistics, and what is released with them.

        views: (n, D >= d) features of the samples, and of copies of them whose labels are the same.
        inputs: what these are features of.  labels: (n,).  key: 32 bytes that no other node has,
        for one encoder (`key_of`, `bound`).  ends: number of samples after each batch, where they
        came in several.
        """
        return distil(rule, d, views[0], inputs, labels, classes, views[1:]), ()

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
        """Return a packet's arrays of (n, D >= d) features and (n, K) targets, and releases."""
        return distil_targets(rule, d, features, targets, kind), ()

    def class_contribution(
        self,
        rule: Analytic,
        d: int,
        views: Sequence[Floats32],
        inputs: Floats32,
        labels: Ints,
        classes: int,
        key: bytes,
    ) -> Contribution | None:
        """Return what a node adds to a sum over a cohort; None where its own packet leaves."""
        return None

    def target_contribution(
        self,
        rule: Analytic,
        d: int,
        features: Floats32,
        inputs: Floats32,
        targets: Floats32,
        kind: str,
        key: bytes,
    ) -> Contribution | None:
        """Return the same for labels and values."""
        return None

    def class_sizes(self, d: int, classes: int) -> tuple[int, ...]:
        """Return how many numbers a node adds in each step; none where its own packet leaves.

        Raises ConfigError where they are too many for a message.
        """
        return ()

    def member_bytes(self, sizes: Sequence[int]) -> int:
        """Return about what a member of a cohort sends and receives, in bytes; 0 without one."""
        return 0

    @property
    def message_bytes(self) -> int:
        """Return what a message must hold: of the sums of a cohort."""
        return 0

    def colluders(self, members: int) -> int:
        """Return how many other members' numbers an attacker of a sum is taken to know."""
        return 0

    @property
    def honest(self) -> int:
        """Return how many members give the noise that a guarantee rests on."""
        return 1

    def situated(self, **known: object) -> Self:
        """Return the rule of a node of which this is known: in a run its group, site and name.

        Raises ConfigError where the rule names what is not known.
        """
        return self

    def said(self) -> list[str]:
        """Return what is guaranteed of all that leaves, in words, a line each."""
        return []

    def not_promised(self) -> list[str]:
        """Return what is not guaranteed of what leaves, a sentence each."""
        return [
            "Anything: statistics are exact. Whoever has somebody's record can often tell that it "
            "is among those that a packet is made of.",
            "That two packets of data that differ by one record do not give it away.",
        ]

    def allows(self, spent: Sequence[float]) -> bool:
        """Return whether so much may be spent.

        spent: the noise multipliers of all releases that one record is in.
        """
        return True

    def told(self, spent: Sequence[float]) -> dict[str, Any] | None:
        """Return guarantee, spent and left as plain values; None where nothing is guaranteed."""
        return None
