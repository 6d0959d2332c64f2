"""What an attacker sees of a node's records: its packet, or the sum of its cohort.

Of a sum the attacker is taken to know the numbers of as many other members as the rule allows for,
and takes them out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.distill import payload_statistics
from qsynth.packet import Payload, Statistics
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.pipeline.publication import Rules
from qsynth.pipeline.target_pipeline import TargetPipeline
from qsynth.privacy import Contribution, PrivacyRule, Sum
from qsynth.types import Floats32, Ints

SESSION = bytes(16)


@dataclass(frozen=True)
class Told:
    """Hold what is seen of one node, and what it says."""

    payload: Payload
    statistics: Statistics


def told_by(
    rule: PrivacyRule, pipelines: Mapping[str, ClassPipeline | TargetPipeline]
) -> dict[str, Told]:
    """Return what is seen of each node, by its name."""
    made = {name: pipeline.distil() for name, pipeline in pipelines.items()}
    if not rule.pooled:
        return {n: Told(p.payload, payload_statistics(p.payload)) for n, p in made.items()}
    alike: dict[str, list[tuple[str, Contribution]]] = {}
    for name, publication in made.items():
        given = publication.contribution
        assert given is not None
        alike.setdefault(given.cohort.terms, []).append((name, given))
    told: dict[str, Told] = {}
    for members in alike.values():
        size = members[0][1].cohort.size
        for first in range(0, len(members), size):
            told |= _cohort(rule, members[first : first + size])
    return told


def _cohort(rule: PrivacyRule, members: Sequence[tuple[str, Contribution]]) -> dict[str, Told]:
    """Return what is seen of each member of one cohort."""
    sums = added([given for _, given in members])
    payload = members[0][1].payload(sums)
    told: dict[str, Told] = {}
    count = rule.colluders(len(members))
    for place, (name, given) in enumerate(members):
        others = [members[(place + i) % len(members)][1] for i in range(1, count + 1)]
        parts = [other.given(sums, SESSION) for other in others]
        less = [
            Sum(np.sum([part[step].numbers for part in parts], axis=0), count)
            for step in range(len(sums))
        ]
        told[name] = Told(payload, given.steps.statistics(sums, less if parts else None))
    return told


def added(given: Sequence[Contribution]) -> list[Sum]:
    """Return the sums of a cohort, step by step."""
    sums: list[Sum] = []
    for _ in given[0].sizes:
        numbers = [each.numbers(sums, SESSION) for each in given]
        sums.append(Sum(np.sum(numbers, axis=0), len(given)))
    return sums


def releases(
    rules: Rules, pipeline: ClassPipeline
) -> Callable[[list[Floats32], Ints, bytes], Statistics]:
    """Return what makes a release of (n, d) views and labels, under a key.

    Of a sum: with the numbers of other members known, but for the noise of those who tell nobody.
    """
    privacy, rule, d = rules.privacy, rules.distill.statistics(), pipeline.d
    classes = pipeline.own.classes

    def packet(views: list[Floats32], labels: Ints, key: bytes) -> Statistics:
        return payload_statistics(
            privacy.class_payload(rule, d, views, None, labels, classes, key)[0]
        )

    def total(views: list[Floats32], labels: Ints, key: bytes) -> Statistics:
        given = []
        for member in range(privacy.honest):
            rows = slice(None) if member == 0 else slice(0)
            secret = bytes([member]) + key[1:]
            own = [view[rows] for view in views]
            made = privacy.class_contribution(rule, d, own, own[0], labels[rows], classes, secret)
            assert made is not None
            given.append(made)
        return given[0].steps.statistics(added(given))

    return total if privacy.pooled else packet
