"""A node's lookups, one at a time, less often while they find the same; and what they fetch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from qsynth.dht import (
    Contact,
    Lookup,
    LookupResult,
    Table,
    exact_limits,
    join_limits,
    lookup_limits,
)
from qsynth.dht.config import Rings
from qsynth.dht.join import EXACT_WIDTH
from qsynth.dht.table import shared_bits
from qsynth.kernels.beam import K
from qsynth.peers import Peers
from qsynth.protocol import messages
from qsynth.protocol.effects import Asker, Effects, RequestContext
from qsynth.protocol.replication import Replication
from qsynth.protocol.withdrawals import Withdrawals
from qsynth.similarity import signs
from qsynth.trust import Admitted
from qsynth.types import Fingerprint, NodeId


class Searcher(Asker, Protocol):
    """What lookups need of a node."""

    table: Table
    dht: Rings
    peers: Peers
    epoch_s: float
    query: Fingerprint
    same: float
    sequence: int
    held: dict[NodeId, Admitted]
    replication: Replication
    size: int
    shadow: bool
    withdrawals: Withdrawals
    forgotten: set[NodeId]


@dataclass
class Search:
    """Hold a lookup under way.

    level: the digits of one's id that answers must share.  joining: whether it is one of a chain
    by which a joiner fills its rings, from its own id outwards.
    """

    lookup: Lookup
    began: float
    kind: str
    level: int = 0
    joining: bool = False


class Lookups:
    """Keep the lookups of one node, and the fetches that they lead to."""

    def __init__(self, node: Searcher, seed: int) -> None:
        self.node = node
        self.fetching: set[NodeId] = set()
        self._under_way: dict[int, Search] = {}
        self._rng = np.random.default_rng([seed, 30])
        self._number = 0
        self._again = False
        self._new_place = True  # in the rings: one's own fingerprint is new there
        self._met: dict[NodeId, Contact] = {}
        self._last_found: tuple[tuple[NodeId, int], ...] = ()
        self._pause = self._quiet = 0  # periods without a lookup: after an answer, and still left

    def changed(self) -> None:
        """Look for peers at once: the node has something new to say."""
        self._quiet = self._pause = 0
        self._new_place = True

    def soon(self) -> None:
        """Look for peers in the next period, whatever the last answer was."""
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
        if self._new_place and node.table.crowded and node.table.own.any():
            self._new_place, self._met = False, {}
            start = node.table.nearest(node.me, EXACT_WIDTH)
            lookup = Lookup(node.me, EXACT_WIDTH, node.me, start, exact_limits(node.dht))
            self._run(now, Search(lookup, now, messages.NEAREST, joining=True), effects)
            return
        self._look(now, target, effects)

    def _look(self, now: float, target: Fingerprint | NodeId, effects: Effects) -> None:
        node = self.node
        k, width = max(node.peers.reach, 1), max(node.dht.ef, node.peers.reach)
        if node.shadow and not isinstance(target, bytes):
            # Who publishes nothing tells little by its questions: where everyone is to be known
            # it asks for ids drawn at random, elsewhere for the signs of its fingerprint.
            target = signs(target) if node.table.crowded else self._rng.bytes(32)
        if isinstance(target, bytes):
            start, kind, warm = node.table.nearest(target, width), messages.NEAREST, False
        else:
            start, kind = node.table.alike(target, width), messages.SIMILAR
            warm = node.table.near_home(target)
        limits = lookup_limits(node.dht, k, node.table.nodes, warm)
        lookup = Lookup(target, k, node.me, start, limits)
        self._run(now, Search(lookup, now, kind), effects)

    def _run(self, now: float, search: Search, effects: Effects) -> None:
        self._number += 1
        self._under_way[self._number] = search
        self._advance(now, self._number, effects)

    def _next_ring(self, now: float, ended: Search, effects: Effects) -> None:
        """Go on from the ring of a joiner's search to the next wider one; end with all nodes."""
        node = self.node
        self._met |= {contact.id: contact for contact in ended.lookup.known()}
        bits = node.dht.digit_bits
        digits = {met: shared_bits(node.me, met) // bits for met in self._met}
        deepest = max(digits.values(), default=0)
        level = deepest if ended.kind == messages.NEAREST else ended.level - 1
        target = node.peers.target(node.query)
        if level <= 0:
            if target is not None:
                self._look(now, target, effects)
            return
        start = [self._met[met] for met, shared in digits.items() if shared >= level]
        limits = join_limits(node.dht)[1]
        lookup = Lookup(node.table.own, int(limits[K]), node.me, start, limits)
        self._run(now, Search(lookup, now, messages.SIMILAR, level, joining=True), effects)

    def returned(
        self,
        now: float,
        context: RequestContext | None,
        contacts: Sequence[Contact] | None,
        effects: Effects,
    ) -> None:
        """Tell the lookup that a request belongs to what came of it; contacts None: a failure."""
        if context is None or context.lookup is None or context.lookup not in self._under_way:
            return
        lookup = self._under_way[context.lookup].lookup
        if contacts is None:
            lookup.failed(context.contact.id)
        else:
            lookup.answered(context.contact.id, contacts)
        self._advance(now, context.lookup, effects)

    def _advance(self, now: float, number: int, effects: Effects) -> None:
        search = self._under_way.get(number)
        if search is None:
            return
        node, lookup = self.node, search.lookup
        late = now - search.began > node.dht.lookup_s
        target = lookup.target if isinstance(lookup.target, bytes) else lookup.target.tobytes()
        count = node.dht.replies(node.table.crowded)
        body = messages.Search(node.contact(), target, count, search.level)
        # Again until somebody is waited for: a request may be shed, and nobody would wake us.
        while not late and (chosen := lookup.next()):
            for contact in chosen:
                if node.membership.doubted(contact.id) or not node.ask(
                    now, contact, search.kind, body, effects, RequestContext(contact, number)
                ):
                    lookup.failed(contact.id)
        if not (late or lookup.done):
            return
        del self._under_way[number]
        if search.joining:  # late or not: what it has met is a beginning for the next ring
            self._next_ring(now, search, effects)
        else:
            self._end(now, lookup.result(), search.began, search.kind, effects)

    def _end(
        self, now: float, result: LookupResult, began: float, kind: str, effects: Effects
    ) -> None:
        node = self.node
        if node.shadow and kind == messages.NEAREST:
            known = node.table.alike(node.query, max(node.peers.reach, 1))
            result = replace(result, contacts=tuple(known))
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
        candidates = node.replication.candidates(result.contacts)
        found_now = [contact for contact in candidates if contact.id not in node.forgotten]
        for author in node.peers.found(found_now, node.query, node.same):
            held = node.held.get(author.id)
            after = held.packet.sequence if held else 0
            after = max(after, node.withdrawals.covers(author.id))
            if author.version > after and author.id not in self.fetching:
                holder = node.replication.holder(author)
                context = RequestContext(holder or author, None, author=author)
                body = messages.Fetch(node.contact(), author.id, after)
                if node.ask(now, context.contact, messages.FETCH, body, effects, context):
                    self.fetching.add(author.id)
        if self._again or node.peers.hurry:
            self.begin(now, effects)
