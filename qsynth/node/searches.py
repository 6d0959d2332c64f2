"""A node's lookups, one at a time, less often while they find the same; and what they fetch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from qsynth.dht import Contact, Lookup, Table
from qsynth.dht.config import Rings
from qsynth.node import wire
from qsynth.node.effects import Effects, Errand
from qsynth.peers import Peers
from qsynth.trust import Admitted
from qsynth.types import Fingerprint, NodeId


class Searcher(Protocol):
    """What lookups need of a node."""

    me: NodeId
    table: Table
    dht: Rings
    peers: Peers
    epoch_s: float
    query: Fingerprint
    same: float
    sequence: int
    held: dict[NodeId, Admitted]

    def contact(self) -> Contact:
        """Return who the node is now."""

    def ask(
        self, now: float, contact: Contact, kind: str, body: Any, effects: Effects,
        errand: Errand | None = None,
    ) -> bool:  # fmt: skip
        """Ask a contact; return whether the request was sent."""


class Searches:
    """Keep the lookups of one node, and the fetches that they lead to."""

    def __init__(self, node: Searcher) -> None:
        self.node = node
        self.fetching: set[NodeId] = set()
        self._under_way: dict[int, tuple[Lookup, float, str]] = {}
        self._number = 0
        self._again = False
        self._last_found: tuple[tuple[NodeId, int], ...] = ()
        self._pause = self._quiet = 0  # periods without a lookup: after an answer, and still left

    def changed(self) -> None:
        """Look for peers at once: the node has something new to say."""
        self._quiet = self._pause = 0

    def period(self, now: float, effects: Effects) -> None:
        """Begin a lookup where one is due."""
        self._quiet -= 1
        if self._quiet <= 0:
            self.begin(now, effects)

    def begin(self, now: float, effects: Effects) -> None:
        """Begin a lookup, or, while another is under way, look once more when it has ended."""
        node = self.node
        target = node.peers.target(node.query)
        if target is None:
            return
        if self._under_way:
            self._again = True
            return
        self._again = False
        if isinstance(target, bytes):
            start, kind = node.table.nearest(target, node.dht.ef), wire.NEAREST
        else:
            start, kind = node.table.alike(target, node.dht.ef), wire.SIMILAR
        self._number += 1
        lookup = Lookup(target, max(node.peers.k, 1), node.me, start, node.dht)
        self._under_way[self._number] = (lookup, now, kind)
        self._advance(now, self._number, effects)

    def returned(
        self, now: float, errand: Errand | None, contacts: Sequence[Contact] | None,
        effects: Effects,
    ) -> None:  # fmt: skip
        """Tell the lookup behind an errand what came of it; None is a failure."""
        if errand is None or errand.lookup is None or errand.lookup not in self._under_way:
            return
        lookup = self._under_way[errand.lookup][0]
        if contacts is None:
            lookup.failed(errand.contact.id)
        else:
            lookup.answered(errand.contact.id, contacts)
        self._advance(now, errand.lookup, effects)

    def _advance(self, now: float, number: int, effects: Effects) -> None:
        entry = self._under_way.get(number)
        if entry is None:
            return
        node, (lookup, began, kind) = self.node, entry
        late = now - began > node.dht.lookup_s
        target = lookup.target if isinstance(lookup.target, bytes) else lookup.target.tobytes()
        body = wire.Search(node.contact(), target, node.dht.reply_contacts)
        # Again until somebody is waited for: a request may be shed, and nobody would wake us.
        while not late and (chosen := lookup.next()):
            for contact in chosen:
                if not node.ask(now, contact, kind, body, effects, Errand(contact, number)):
                    lookup.failed(contact.id)
        if late or lookup.done:
            del self._under_way[number]
            self._end(now, lookup, began, kind, effects)

    def _end(self, now: float, lookup: Lookup, began: float, kind: str, effects: Effects) -> None:
        node, result = self.node, lookup.result()
        effects.record(
            "lookup",
            kind=kind,
            began=node.epoch_s + began,
            rpcs=result.rpcs,
            rounds=result.rounds,
            version=node.sequence,
            found=[[c.id.hex(), c.version] for c in result.contacts],
        )
        found = tuple((contact.id, contact.version) for contact in result.contacts)
        # The same answer again: look less often, up to every `quiet_periods`.
        old, self._last_found = bool(found) and self._last_found == found, found
        self._pause = min(2 * self._pause + 1, node.dht.quiet_periods) if old else 0
        self._quiet = 1 + self._pause
        for contact in node.peers.found(result.contacts, node.query, node.same):
            held = node.held.get(contact.id)
            after = held.packet.sequence if held else 0
            if contact.version > after and contact.id not in self.fetching:
                body = wire.Fetch(node.contact(), contact.id, after)
                if node.ask(now, contact, wire.FETCH, body, effects):
                    self.fetching.add(contact.id)
        if self._again or node.peers.hurry:
            self.begin(now, effects)
