"""Sums: how the evidence of a whole group of M nodes reaches each of them in O(log M) packets.

Every node keeps, for each depth d, one packet over those that are alike, share the first d bits of
its id, and differ in the next: what a node on that side has summed so far.  Its own packet and
those of depth d and more add up to what it offers the nodes on the other side of depth d - 1.
Author sets of different depths are disjoint because ids are.  A sum starts deep, where one author
stands alone, and doubles with every depth: binomial aggregation as in SanFermin (Cappos & Hartman
2008, section 3), without its sessions: whoever asks gets what there is by now.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import msgspec
import numpy as np

from qsynth.dht import Contact
from qsynth.dht.lookup import xor_distance
from qsynth.distill import Part
from qsynth.distill.receipts import AUTHOR_BYTES, leaf, leaf_author
from qsynth.errors import PacketError
from qsynth.mesh import Answer, Request
from qsynth.packet import KIND_AUTHOR, KIND_SUM
from qsynth.peers.base import Likeness
from qsynth.peers.sums import Sums
from qsynth.protocol import messages
from qsynth.protocol.effects import Effects, RequestContext
from qsynth.protocol.service import Service
from qsynth.sums.audit import Audit, Audits
from qsynth.sums.builder import Held, SumBuilder
from qsynth.sums.depth import Depth, common_bits
from qsynth.sums.downloads import Download, Downloads, SumNode
from qsynth.sums.packet_cache import PacketCache
from qsynth.trust import Admitted
from qsynth.types import Fingerprint, NodeId

DEEPEST = 24  # bits: beyond it two of a million ids hardly ever agree
MAX_MEMBERS = 512  # alike nodes remembered
MAX_PACKETS = 96  # kept as bytes, to be served and audited
GROWTH = 1.25  # a larger sum is worth its bytes from this many times the authors on
PATIENCE = 3  # periods that shallower depths wait for deeper ones
MAX_UNANSWERED = 2  # audits, until whoever was asked is believed no more
TRIES = 2  # offers of nothing from a depth, until shallower ones no longer wait for it
MAX_WITHOUT = 64  # forgotten authors named in a request
ACQUAINTANCES = 4  # contacts in an offer
STRANGE = 4  # offers without a stranger, until no more contacts are asked for


@dataclass(frozen=True)
class Asked:
    """A request for the sum of a depth."""

    tree: SumTree
    depth: int
    contact: Contact

    def answered(self, now: float, answer: Answer, effects: Effects) -> None:
        """Take an offer, or a refusal."""
        self.tree.offered(now, answer, self.depth, self.contact, effects)

    def failed(self, now: float, effects: Effects) -> None:
        """Note that there is none."""
        self.tree.unanswered(self.depth)


class SumTree(Service):
    """Build and serve the sums of one node.

    alike: how alike two fingerprints are.  rank, input_rank: low-rank factors of a sum.
    piece_bytes: of an answer at most.
    """

    bodies: ClassVar[Mapping[str, type]] = {
        messages.SUM: messages.SumQuery,
        messages.PIECE: messages.PieceQuery,
    }

    def __init__(
        self,
        node: SumNode,
        config: Sums,
        alike: Likeness,
        rank: int,
        input_rank: int,
        piece_bytes: int,
        seed: int,
    ) -> None:
        self.node, self.config = node, config
        self.alike = alike
        self.members: dict[NodeId, Contact] = {}
        self.store = PacketCache(MAX_PACKETS)
        self.builder = SumBuilder(node, self.store, rank, input_rank, config.max_leaves)
        self.downloads = Downloads(node, piece_bytes, self._ended)
        self.audits = Audits(node, self.downloads)
        self.forgotten: set[bytes] = set()  # first bytes of ids
        self._depths: dict[int, Depth] = {}
        self._unanswered: Counter[NodeId] = Counter()  # audits, by who should have answered
        self._blocked = 0  # periods since shallower depths began to wait for a deeper one
        self._strange = STRANGE
        # From a signature: nobody else can tell which sums will be audited.
        secret = hashlib.sha256(node.identity.sign(b"audits")).digest()
        self._rng = np.random.default_rng([seed, *secret[:8]])

    # -- what the node tells ---------------------------------------------------------------

    def heard(self, contacts: Sequence[Contact]) -> None:
        """Remember nodes that are alike, of which the most alike where there are too many."""
        if not self.node.query.any():
            return  # before one's own fingerprint nobody can be judged
        for contact in contacts:
            if contact.version > 0 and self._alike_enough(contact.vector()):
                self.members[contact.id] = contact
            else:
                self.members.pop(contact.id, None)
        if len(self.members) > MAX_MEMBERS:
            rank = {i: -self.alike(self.node.query, c.vector()) for i, c in self.members.items()}
            kept = sorted(rank, key=lambda i: (rank[i], i))[:MAX_MEMBERS]
            self.members = {node: self.members[node] for node in kept}

    def lost(self, node: NodeId) -> None:
        """Forget a contact that does not answer."""
        self.members.pop(node, None)

    def period(self, now: float, effects: Effects) -> None:
        """Ask for what is missing, deepest first: a sum is worth asking for when it is full."""
        self._expire()
        self.builder.period()
        if self.node.own_packet is None or not self.node.query.any():
            return
        self.heard([*self.members.values(), *self.node.table.contacts.values()])
        known = self._by_depth()
        for depth in sorted(known, reverse=True):
            state = self._depths.setdefault(depth, Depth())
            state.wait -= 1
            state.age += 1
            if not state.asking and state.wait <= 0:
                self._query(now, depth, state, known[depth], effects)
            # Not for ever: nobody is to hold up the others by being slow.
            waits = state.held is None and state.barren < TRIES and self._blocked < PATIENCE
            if waits:
                self._blocked += 1
                return

    def forget(self, author: NodeId) -> None:
        """Drop every sum that holds an author's evidence, for good.

        The evidence of others that goes with it is summed anew without.
        """
        short = author[:AUTHOR_BYTES]
        self.forgotten.add(short)
        self.builder.forget(short)
        for depth, state in self._depths.items():
            if short in map(leaf_author, state.leaves):
                self._drop(depth)

    def parts(self) -> dict[NodeId, Part]:
        """Return the sums and packets held, by who gave them."""
        return {s.author: s.held.part for s in self._depths.values() if s.held is not None}

    def bytes_of(self, digest: bytes) -> bytes:
        """Return the bytes of a packet that is held, has been added, or is one's own."""
        held = self._held(digest)
        return self.store.get(digest) if held is None else held.data

    def voucher_of(self, digest: bytes) -> bytes:
        """Return the voucher for the author of such a packet; empty without an authority."""
        held = self._held(digest)
        return self.store.voucher(digest) if held is None else held.voucher

    def _held(self, digest: bytes) -> Held | None:
        own = self.builder.own()
        for held in (own, *(state.held for state in self._depths.values())):
            if held is not None and held.part.digest == digest:
                return held
        return None

    # -- serving ---------------------------------------------------------------------------

    def answer(
        self, request: Request, body: messages.SumQuery | messages.PieceQuery
    ) -> msgspec.Struct:
        """Return an offer, or a piece of a packet."""
        if isinstance(body, messages.SumQuery):
            return self.offer(body)
        piece = self.downloads.piece(body, self.bytes_of(body.digest))
        voucher = self.voucher_of(body.digest) if body.offset == 0 else b""
        return msgspec.structs.replace(piece, voucher=voucher)

    def offer(self, query: messages.SumQuery) -> messages.SumOffer:
        """Return what there is for whoever asks."""
        me, near, made = self.node.contact(), self._near(query), None
        if 0 <= query.bits <= DEEPEST:
            held = {depth: s.held for depth, s in self._depths.items() if s.held is not None}
            made = self.builder.sum(
                query.bits, frozenset(query.without[:MAX_WITHOUT]), held, query.contact.id
            )
        if made is None:
            return messages.SumOffer(me, b"", 0, 0, near)
        count = len(made.part.leaves)
        if count < query.leaves or made.part.digest == query.have:
            return messages.SumOffer(me, b"", 0, count, near)
        return messages.SumOffer(me, made.part.digest, len(made.data), count, near)

    def _near(self, query: messages.SumQuery) -> list[Contact]:
        """Return alike nodes whom the asker will want for its deep sums."""
        asker, count = query.contact.id, max(0, min(query.count, ACQUAINTANCES))
        others = [node for node in self.members if node != asker]
        return [
            self.members[n] for n in heapq.nsmallest(count, others, partial(xor_distance, asker))
        ]

    # -- asking ----------------------------------------------------------------------------

    def _query(
        self, now: float, depth: int, state: Depth, members: list[Contact], effects: Effects
    ) -> None:
        have = len(state.leaves)
        if state.age >= self.config.refresh_periods:
            state.least = max(1, int(have / GROWTH))  # it may have shrunk, or be newer
        else:
            state.least = max(have + 1, int(np.ceil(GROWTH * have)))
        fewest = min(state.asked[c.id] for c in members)
        fresh = [c for c in members if state.asked[c.id] == fewest]
        contact = fresh[int(self._rng.integers(len(fresh)))]
        body = messages.SumQuery(
            self.node.contact(),
            depth + 1,
            state.least,
            state.held.part.digest if state.held else b"",
            sorted(self.forgotten)[:MAX_WITHOUT],
            ACQUAINTANCES if self._strange > 0 else 0,
        )
        context = RequestContext(contact, None, Asked(self, depth, contact))
        if self.node.ask(now, contact, messages.SUM, body, effects, context):
            state.asking = True
            state.asked[contact.id] += 1

    def offered(
        self, now: float, answer: Answer, depth: int, contact: Contact, effects: Effects
    ) -> None:
        """Take an answer that offers a sum."""
        offer = None if answer.refused else messages.unpack(answer.body, messages.SumOffer)
        state = self._depths[depth]
        if offer is not None:
            self._meet(offer.contacts)
        if offer is None or not offer.size > 0 or offer.leaves < 1:
            self._useless(state)
            return
        download = Download(offer.digest, contact, depth, offer.size)
        if not self.downloads.begin(now, download, effects):
            self._useless(state)

    def unanswered(self, depth: int) -> None:
        """Note that nobody has answered for a depth."""
        self._useless(self._depths[depth])

    def _meet(self, contacts: Sequence[Contact]) -> None:
        told = [c for c in contacts[:ACQUAINTANCES] if c.id != self.node.me]
        valid = [c for c in told if self.node.membership.valid(c)]
        known = len(self.members)
        self.heard([c for c in valid if c.id not in self.members])
        # While strangers turn up, more are asked for.
        self._strange = STRANGE if len(self.members) > known else self._strange - 1

    def _useless(self, state: Depth) -> None:
        state.asking = False
        state.barren += 1
        state.wait = min(2 ** min(state.barren - 1, 10), self.config.refresh_periods)
        if state.age >= self.config.refresh_periods:
            state.age = 0

    def _ended(self, now: float, download: Download, effects: Effects) -> None:
        """Take a packet that has come whole, or has not come."""
        if isinstance(download.purpose, Audit):
            bad = self.audits.ended(now, download.purpose, download, self.members, effects)
            if bad is not None:
                self._distrust(bad, download.purpose, effects)
            return
        depth = download.purpose
        assert isinstance(depth, int)
        state = self._depths[depth]
        if download.failed:
            self._useless(state)
            return
        data = bytes(download.data)
        effects.record("fetch", author=download.contact.id.hex(), bytes=len(data))
        try:
            admitted, part = self._admit(depth, download, data)
        except PacketError as error:
            self.node.counts[f"rejected_{error.reason}"] += 1
            effects.record("reject", author=download.contact.id.hex(), reason=error.reason)
            self._useless(state)
            return
        if state.author != download.contact.id:
            self.node.held.pop(state.author, None)
        self.node.held[download.contact.id] = admitted
        voucher = download.contact.voucher  # a packet is fetched of its author
        state.held = Held(part, admitted.packet, data, voucher)
        state.author = download.contact.id
        state.asking, self._blocked = False, 0
        state.barren = state.age = 0
        state.wait = 1
        effects.record(
            "admit",
            author=download.contact.id.hex(),
            version=admitted.packet.sequence,
            depth=depth,
            leaves=len(part.leaves),
            loss=part.loss,
        )
        if part.evidence.receipts and self._rng.random() < self.config.audit_share:
            subject = Audit(part, admitted.packet, download.contact, depth)
            self.audits.begin(now, subject, effects)

    def _admit(self, depth: int, download: Download, data: bytes) -> tuple[Admitted, Part]:
        node, author = self.node, download.contact.id
        admitted = node.admission.admit(
            data, author, -1, None, 0, node.wall_s(), (KIND_AUTHOR, KIND_SUM)
        )
        before = node.held.get(author)
        # Packets and sums of one author count apart: a node may fall back on its packet alone.
        same_kind = before is not None and before.packet.kind == admitted.packet.kind
        if before and same_kind and admitted.packet.sequence <= before.packet.sequence:
            raise PacketError("replay")
        receipts = admitted.evidence.receipts
        leaves = receipts.leaves if receipts else (leaf(author, download.digest),)
        short = node.me[:AUTHOR_BYTES]
        if any(common_bits(leaf_author(entry), short) != depth for entry in leaves):
            raise PacketError("leaves", "authors of another prefix")
        if len(leaves) < self._depths[depth].least:
            raise PacketError("leaves", "fewer than were asked for")
        if len(leaves) > self.config.max_leaves:
            raise PacketError("leaves", f"{len(leaves)} authors")
        if self.forgotten.intersection(map(leaf_author, leaves)):
            raise PacketError("forgotten")
        if not self._alike_enough(admitted.fingerprint):
            raise PacketError("unalike")
        part = Part(download.digest, leaves, admitted.evidence)
        self.builder.check(part)
        return admitted, part

    def _distrust(self, bad: bytes, audit: Audit, effects: Effects) -> None:
        """Drop a sum that did not pass its audit; bad: who signed it, or empty if unanswered."""
        self.node.counts["bad_sum" if bad else "unaudited_sum"] += 1
        effects.record(
            "reject", author=audit.contact.id.hex(), reason="sum" if bad else "unaudited"
        )
        state = self._depths.get(audit.depth)
        if state and state.held and state.held.part.digest == audit.root:
            self._drop(audit.depth)
        self._unanswered[audit.contact.id] += not bad
        if self._unanswered[audit.contact.id] >= MAX_UNANSWERED:
            bad = audit.contact.id  # who never shows parts is as little believed as who forges
        if bad:
            self.forgotten.add(bad[:AUTHOR_BYTES])
            self.members.pop(bad, None)

    def _alike_enough(self, other: Fingerprint) -> bool:
        floor = self.config.min_similarity * max(self.node.same, 0.0)
        return self.alike(self.node.query, other) >= floor

    def _drop(self, depth: int) -> None:
        state = self._depths[depth]
        self.node.held.pop(state.author, None)
        self._depths[depth] = Depth(asking=state.asking, asked=state.asked)

    def _expire(self) -> None:
        for depth, state in self._depths.items():
            held = self.node.held.get(state.author)
            if state.held is None:
                continue
            # One's own data may have changed since: what is no longer alike is nobody's sum.
            if held is None or not self._alike_enough(held.fingerprint):
                self._drop(depth)

    def _by_depth(self) -> dict[int, list[Contact]]:
        known: dict[int, list[Contact]] = {}
        for node in sorted(self.members):
            depth = common_bits(node, self.node.me)
            if depth < DEEPEST and node[:AUTHOR_BYTES] not in self.forgotten:
                known.setdefault(depth, []).append(self.members[node])
        return known
