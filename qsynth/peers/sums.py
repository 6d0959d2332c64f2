"""Peers `sums`: all that are alike, by sums over groups of them (`qsynth/sums`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsynth.peers.base import Alike, Likeness, Peers
from qsynth.peers.semantic import SemanticPeers
from qsynth.schema import option, setting
from qsynth.types import Fingerprint, NodeId

if TYPE_CHECKING:
    from qsynth.dht import Contact


@option("peers")
@dataclass(frozen=True)
class Sums(Alike):
    """Learn from all that are alike, by sums over groups of them: one packet for each doubling."""

    adds_statistics = True
    name: str = setting("sums", "the option's name", choices=("sums",))
    k: int = setting(8, "contacts that a lookup finds", low=1, high=256)
    rank: int | None = setting(
        None, "low-rank factors of a sum's scatter; null: as many as of a packet's", low=0, high=256
    )
    max_leaves: int = setting(256, "authors in a sum at most", low=2, high=512)
    audit_share: float = setting(
        0.05, "of received sums whose parts are fetched and added again", low=0.0, high=1.0
    )
    refresh_periods: int = setting(
        16, "until a sum is asked for anew though no larger one is offered", low=1
    )

    def first(self) -> int:
        """Return how many contacts a lookup finds."""
        return self.k

    def choosing(self, seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing."""
        return SumPeers(self.k, self.min_similarity, alike)


class SumPeers(SemanticPeers):
    """Choose every sum over authors that are alike; lookups only make others known."""

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return nobody: sums are asked for, not single packets."""
        return []

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return whoever holds a sum, or a packet, above the floor."""
        floor = self._floor(same)
        return sorted(node for node, print_ in held.items() if self.alike(own, print_) >= floor)
