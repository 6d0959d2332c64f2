"""What a node can do beside its own protocol: services answer requests, and ask others.

A service is handed to a node when that is made.  The node knows no service by name: it passes on
requests of the kinds that a service names, and tells it what becomes of contacts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from qsynth.dht import Contact
from qsynth.mesh import Request
from qsynth.pipeline.publication import Publication
from qsynth.protocol.effects import Effects
from qsynth.protocol.journal import Entry
from qsynth.trust import Admitted
from qsynth.types import NodeId


class Service:
    """A service of a node.  A subclass overrides what concerns it.

    bodies: the kinds of request that it answers, each with the type of its body.
    """

    bodies: ClassVar[Mapping[str, type]] = {}

    def answer(self, request: Request, body: Any) -> msgspec.Struct:
        """Return the body of the answer to a request of one of its kinds, or a `Refusal`."""
        raise NotImplementedError

    @property
    def wake_at(self) -> float | None:
        """Return when `timer` wants to be called; None: never."""
        return None

    def timer(self, now: float, effects: Effects) -> None:
        """Do what is due."""

    def period(self, now: float, effects: Effects) -> None:
        """Do what is due when a period of learning has ended."""

    def heard(self, contacts: Sequence[Contact]) -> None:
        """Take contacts that are not known to be dead."""

    def newcomer(self, now: float, contact: Contact, effects: Effects) -> None:
        """Take a contact that has spoken for the first time."""

    def lost(self, node: NodeId) -> None:
        """Note that a node has not answered."""

    def published(self, publication: Publication) -> None:
        """Take what the node has to tell in this period."""

    def evidence(self) -> Mapping[NodeId, Admitted]:
        """Return what there is to learn from beside packets that were fetched, by author."""
        return {}

    def covered(self) -> set[NodeId]:
        """Return authors whose packets say nothing that this service's evidence does not."""
        return set()

    def forget(self, author: NodeId) -> None:
        """Drop an author's evidence for good."""

    def refuse(self, author: NodeId) -> None:
        """Drop all of an author that is of the fleet no more."""
        self.forget(author)

    def entries(self) -> list[Entry]:
        """Return what must be remembered."""
        return []

    def restore(self, entry: Entry) -> None:
        """Take an entry that this or another part of a node has remembered in an earlier life."""
