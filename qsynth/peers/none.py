"""Peers `none`: nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qsynth.peers.base import Fixed, Likeness, Peers, PeersOptions
from qsynth.schema import option, setting
from qsynth.types import Fingerprint, NodeId

if TYPE_CHECKING:
    from qsynth.dht import Contact


@option("peers")
@dataclass(frozen=True)
class NoPeers(PeersOptions):
    """Learn from nobody: the pipeline alone."""

    name: str = setting("none", "the option's name", choices=("none",))

    def choosing(self, seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing."""
        return NobodyPeers()


class NobodyPeers(Fixed):
    """Choose nobody."""

    k = 0
    hurry = False

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return nothing to look up."""
        return None

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return nobody."""
        return []

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return nobody."""
        return []
