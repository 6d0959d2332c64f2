"""What a node has of its cohort's sum: evidence of the others, and a packet if it has collected."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import numpy as np

from qsynth.distill import Evidence
from qsynth.distill.receipts import Receipts, leaf
from qsynth.identity import Identity, node_id
from qsynth.packet import KIND_SUM, OutcomePacket, redrawn
from qsynth.peers.base import Likeness
from qsynth.pipeline.publication import Publication
from qsynth.privacy import Contribution, Sum
from qsynth.protocol.effects import Asker, Effects
from qsynth.protocol.journal import Entry
from qsynth.records.service import Records
from qsynth.trust import Admission, Admitted
from qsynth.types import Fingerprint, NodeId


class CohortNode(Asker, Protocol):
    """What cohorts need of a node."""

    identity: Identity
    admission: Admission
    ttl_s: float
    query: Fingerprint
    same: float
    entries: list[Entry]
    sent: list[dict[str, Any]]

    def service(self, kind: type[Records]) -> Records | None:
        """Return the service of a class."""

    def publish(self, now: float, period: int, publication: Publication, effects: Effects) -> None:
        """Publish what is new."""


class Told(msgspec.Struct, frozen=True, array_like=True):
    """Hold the sums of a session, so that a node that starts again has them.

    session: what the node's part was paid for under.  records: digest of what it has added.
    collected: whether the node has collected them.  author: the public key that they pass for, of
    the node that has.  others: the other members of the first step, in which all are.  sums:
    numbers, and members, a step.
    """

    session: bytes
    records: bytes
    collected: bool
    author: bytes
    created_s: float
    others: list[NodeId]
    sums: list[tuple[bytes, int]]

    @property
    def members(self) -> int:
        """Return how many nodes have added to the last step."""
        return self.sums[-1][1]

    def has(self, author: NodeId) -> bool:
        """Return whether an author is in the sum."""
        return author in (*self.others, node_id(self.author))


@dataclass(frozen=True)
class HeldSum:
    """Hold a sum as a node learns from it.

    evidence: of the others, under the id that it passes for; nothing where no class stands out of
    the noise.  publication: of all, where the node has collected them.
    """

    evidence: Mapping[NodeId, Admitted]
    publication: Publication | None


def hold(
    node: CohortNode,
    alike: Likeness,
    given: Contribution,
    told: Told,
    forgotten: Collection[NodeId] = (),
) -> HeldSum | None:
    """Return what a node has of a sum, and let it look for what is like the sum.

    None where the sum is of other settings; nothing where somebody in it is forgotten.  given: what
    the node has added.
    """
    if any(map(told.has, forgotten)):
        return HeldSum({}, None)
    sums = [Sum(np.frombuffer(numbers), members) for numbers, members in told.sums]
    if [len(each.numbers) for each in sums] != list(given.sizes):
        return None
    payload = given.payload(sums)
    whole, others = node.admission.read(payload), given.others(sums, told.session)
    leaves = tuple(sorted(leaf(author, told.session) for author in told.others))
    others = replace(others, receipts=Receipts(leaves, (), 0.0))
    print_ = node.admission.sketch(*whole.sketched())
    node.query, node.same = print_, _same(node, alike, whole)
    support = int(whole.features.counts.sum())
    mine = Publication(payload, print_, support, print_) if told.collected and support else None
    if not others.features.counts.any():
        return HeldSum({}, mine)
    packet = OutcomePacket(
        task=node.admission.task_digest,
        encoder=node.admission.encoder_digest,
        author=told.author,
        sequence=int(told.created_s),
        created_s=told.created_s,
        ttl_s=int(node.ttl_s),
        support=int(others.features.counts.sum()),
        payload=payload,
        kind=KIND_SUM,
    )
    found = node.admission.sketch(*others.sketched())
    return HeldSum({node_id(told.author): Admitted(packet, others, found)}, mine)


def _same(node: CohortNode, alike: Likeness, whole: Evidence) -> float:
    """Return how alike two sums of the same data would look."""
    joint, rng, prints = whole.joint, np.random.default_rng(5), []
    for _ in range(2):
        if joint is None:
            drawn = replace(whole, features=redrawn(whole.features, rng))
        else:
            drawn = replace(whole, joint=redrawn(joint, rng))
        prints.append(node.admission.sketch(*drawn.sketched()))
    return alike(*prints)
