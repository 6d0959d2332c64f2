"""The node, sans-I/O: a state machine without thread, clock, socket, file or Trainer.

Three entries: a message came, a timer fired, a period of learning ended.  Each returns what to
send, what to record, and whom to hang up on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from qsynth.dht import Contact, Lookup, Table
from qsynth.dht.config import Rings
from qsynth.errors import PacketError
from qsynth.identity import Identity
from qsynth.mesh import Answer, Failure, Request, Rpc
from qsynth.mesh.config import Shared
from qsynth.node import wire
from qsynth.node.effects import Effects, Errand
from qsynth.node.serving import serve
from qsynth.node.study import Outcome, is_new
from qsynth.packet import OutcomePacket, encode_packet, packet_digest
from qsynth.peers import Peers
from qsynth.trust import Admission, Admitted
from qsynth.types import Fingerprint, NodeId

NOTICES = 4  # contacts told of news directly; the rest hear of it when they ask
JOIN_ADDRESSES = 3
JOIN_RETRY_S = 0.5
FAREWELL_S = 1.0  # between two rounds of asking whether the others have finished


class Node:
    """One node of the mesh.

    epoch_s: seconds since the epoch at `now` 0 of the driver's clock.  address: where others
    reach it.  fingerprint_size: of this task.  rpc_seed: of request numbers, in simulations.
    """

    def __init__(
        self, identity: Identity, address: str, fingerprint_size: int, admission: Admission,
        peers: Peers, dht: Rings, mesh: Shared, ttl_s: float, epoch_s: float, seed: int,
        rpc_seed: int | None = None,
    ) -> None:  # fmt: skip
        self.identity, self.address, self.admission = identity, address, admission
        self.peers, self.dht, self.ttl_s, self.epoch_s = peers, dht, ttl_s, epoch_s
        self.size = fingerprint_size
        self.me: NodeId = identity.id
        self.table = Table(self.me, fingerprint_size, dht)
        self.rpc = Rpc(self.me, mesh, rpc_seed)
        self.counts: Counter[str] = Counter()
        self.held: dict[NodeId, Admitted] = {}
        self.finished = False
        self.own_packet: tuple[OutcomePacket, bytes] | None = None
        self.query: Fingerprint = self.table.own  # whom to look for
        self._same, self._sequence = 0.0, 0
        self._lookups: dict[int, tuple[Lookup, float, str]] = {}
        self._number = 0
        self._bootstrap: list[str] = []
        self._dead: dict[NodeId, int] = {}
        self._fetching: set[NodeId] = set()
        self.joined = False
        self._again = False
        self._last_refusal = ""
        self._last_found: tuple[tuple[NodeId, int], ...] = ()
        self._pause = self._quiet = 0  # periods without a lookup: after an answer, and still left
        self._retry_at: float | None = None
        self._rng = np.random.default_rng([seed, 9])

    # -- entries ---------------------------------------------------------------------------

    def start(self, now: float, addresses: Sequence[str]) -> Effects:
        """Join through any live node among these addresses; call again with more to retry."""
        effects = Effects()
        self._bootstrap = [a for a in addresses if a != self.address]
        self._hello(now, effects)
        return effects

    def message(self, now: float, address: str, payload: bytes) -> Effects:
        """Take a message that came; `address` is where its answer goes."""
        effects = Effects()
        received = self.rpc.receive(address, payload)
        if isinstance(received, Request):
            answer, heard = serve(self, received)
            effects.sends.append(answer)
            self._learn([heard] if heard else [], heard=True)
        elif isinstance(received, Answer):
            self._answered(now, received, effects)
        return effects

    def timer(self, now: float) -> Effects:
        """Do what is due."""
        effects = Effects()
        again, failures = self.rpc.due(now)
        effects.sends += again
        for failure in failures:
            self._failed(now, failure, effects)
        if self._retry_at is not None and now >= self._retry_at:
            self._hello(now, effects)
        return effects

    def end_period(self, now: float, period: int, outcome: Outcome | None, same: float) -> Effects:
        """Publish an outcome if it is new, look for packets, and forget what has expired.

        same: how alike a node of the same data would look.
        """
        effects, self._same = Effects(), same
        self.query = self.query if outcome is None else outcome.query
        for author in [a for a, h in self.held.items() if h.packet.expired(self._wall(now))]:
            del self.held[author]
            effects.record("expired", author=author.hex())
        if outcome is not None and is_new(
            outcome, self.own_packet and self.own_packet[0], self._wall(now)
        ):
            self._publish(now, period, outcome, effects)
        self._quiet -= 1
        if self._quiet <= 0:
            target = self.peers.target(self.query)
            if target is not None and not self.finished:
                self._begin_lookup(now, target, effects)
        return effects

    def finish(self, now: float) -> Effects:
        """Tell those known who have not finished that we have; go on serving.  Can be repeated."""
        effects = Effects()
        first, self.finished = not self.finished, True
        for contact in list(self.table.contacts.values()):
            if contact.finished and not first:
                continue
            self._ask(now, contact, wire.NOTICE, wire.Notice(self.contact()), effects)
        return effects

    # -- views -----------------------------------------------------------------------------

    @property
    def wake_at(self) -> float | None:
        """Return when `timer` wants to be called."""
        times = [t for t in (self.rpc.wake_at, self._retry_at) if t is not None]
        return min(times) if times else None

    @property
    def alone(self) -> bool:
        """Return whether nobody is known."""
        return len(self.table) == 0

    @property
    def all_finished(self) -> bool:
        """Return whether every node known has finished."""
        return all(contact.finished for contact in self.table.contacts.values())

    def contact(self) -> Contact:
        """Return who I am now."""
        own = self.table.own.tobytes()
        return Contact(self.me, self.address, own, self._sequence, self.finished)

    def authors(self) -> dict[NodeId, Admitted]:
        """Return the admitted packets to learn from now, by author."""
        prints = {author: held.fingerprint for author, held in self.held.items()}
        chosen = self.peers.authors(prints, self.query, self._same)
        return {author: self.held[author] for author in chosen}

    # -- publishing ------------------------------------------------------------------------

    def _wall(self, now: float) -> float:
        return self.epoch_s + now

    def _publish(self, now: float, period: int, outcome: Outcome, effects: Effects) -> None:
        # From the clock, so that a node that has lost its state is not behind its own past.
        self._sequence = max(self._sequence + 1, int(self._wall(now)))
        packet = OutcomePacket(
            task=self.admission.task_digest,
            encoder=self.admission.encoder_digest,
            author=self.identity.public_key,
            sequence=self._sequence,
            created_s=self._wall(now),
            ttl_s=int(self.ttl_s),
            support=outcome.support,
            payload=outcome.payload,
        )
        data = encode_packet(packet, self.identity)
        self.own_packet = (packet, data)
        self._quiet = self._pause = 0  # what one has changed: look for peers at once
        self.table.set_own(outcome.fingerprint)
        effects.record(
            "publish",
            period=period,
            version=self._sequence,
            bytes=len(data),
            digest=packet_digest(data).hex(),
            fingerprint=outcome.fingerprint.tobytes().hex(),
        )
        for contact in self.table.alike(outcome.fingerprint, NOTICES):
            self._ask(now, contact, wire.NOTICE, wire.Notice(self.contact()), effects)

    # -- looking up ------------------------------------------------------------------------

    def _begin_lookup(self, now: float, target: Fingerprint | NodeId, effects: Effects) -> None:
        if self._lookups:
            self._again = True  # one at a time: look once more when this one has ended
            return
        self._again = False
        if isinstance(target, bytes):
            start, kind = self.table.nearest(target, self.dht.ef), wire.NEAREST
        else:
            start, kind = self.table.alike(target, self.dht.ef), wire.SIMILAR
        self._number += 1
        lookup = Lookup(target, max(self.peers.k, 1), self.me, start, self.dht)
        self._lookups[self._number] = (lookup, now, kind)
        self._advance(now, self._number, effects)

    def _advance(self, now: float, number: int, effects: Effects) -> None:
        entry = self._lookups.get(number)
        if entry is None:
            return
        lookup, began, kind = entry
        late = now - began > self.dht.lookup_s
        target = lookup.target if isinstance(lookup.target, bytes) else lookup.target.tobytes()
        body = wire.Search(self.contact(), target, self.dht.reply_contacts)
        # Again until somebody is waited for: a request may be shed, and nobody would wake us.
        while not late and (chosen := lookup.next()):
            for contact in chosen:
                if not self._ask(now, contact, kind, body, effects, number):
                    lookup.failed(contact.id)
        if late or lookup.done:
            del self._lookups[number]
            self._end_lookup(now, lookup, began, kind, effects)

    def _end_lookup(
        self, now: float, lookup: Lookup, began: float, kind: str, effects: Effects
    ) -> None:
        result = lookup.result()
        effects.record(
            "lookup",
            kind=kind,
            began=self._wall(began),
            rpcs=result.rpcs,
            rounds=result.rounds,
            version=self._sequence,
            found=[[c.id.hex(), c.version] for c in result.contacts],
        )
        found = tuple((contact.id, contact.version) for contact in result.contacts)
        # The same answer again: look less often, up to every `quiet_periods`.
        self._pause = min(2 * self._pause + 1, self.dht.quiet_periods) if self._is_old(found) else 0
        self._quiet = 1 + self._pause
        for contact in self.peers.found(result.contacts, self.query, self._same):
            held = self.held.get(contact.id)
            after = held.packet.sequence if held else 0
            if contact.version > after and contact.id not in self._fetching:
                body = wire.Fetch(self.contact(), contact.id, after)
                if self._ask(now, contact, wire.FETCH, body, effects):
                    self._fetching.add(contact.id)

        if self._again or self.peers.hurry:
            target = self.peers.target(self.query)
            if target is not None:
                self._begin_lookup(now, target, effects)

    def _is_old(self, found: tuple[tuple[NodeId, int], ...]) -> bool:
        before, self._last_found = self._last_found, found
        return bool(found) and before == found

    # -- asking ----------------------------------------------------------------------------

    def _hello(self, now: float, effects: Effects) -> None:
        self._retry_at = now + JOIN_RETRY_S if self.alone and self._bootstrap else None
        if not self._bootstrap:
            return
        count = min(JOIN_ADDRESSES, len(self._bootstrap))
        for row in self._rng.choice(len(self._bootstrap), size=count, replace=False):
            task = self.admission.task.field_digests()
            body = wire.Hello(self.contact(), task, self.admission.encoder_digest)
            address = self._bootstrap[int(row)]
            effects.sends += self.rpc.request(now, address, wire.HELLO, wire.pack(body), None)

    def _ask(
        self, now: float, contact: Contact, kind: str, body: Any, effects: Effects,
        lookup: int | None = None,
    ) -> bool:  # fmt: skip
        errand = Errand(contact, lookup)
        sends = self.rpc.request(now, contact.address, kind, wire.pack(body), errand)
        effects.sends += sends
        return bool(sends)

    def _answered(self, now: float, answer: Answer, effects: Effects) -> None:
        errand: Errand | None = answer.tag
        contacts: list[Contact] | None = None
        if errand is not None and answer.kind == wire.FETCH:
            self._fetching.discard(errand.contact.id)
        if errand is not None and answer.sender != errand.contact.id:
            self.counts["impostor"] += 1  # another node answers at this address now
            self._drop(errand.contact.id)
        elif answer.refused:
            refusal = wire.unpack(answer.body, wire.Refusal)
            reason = refusal.reason[:200] if refusal else "malformed"
            if reason != self._last_refusal:  # a joiner tries again and again: say it once
                self._last_refusal = reason
                effects.record("refused", reason=reason)
        elif answer.kind == wire.FETCH and errand is not None:
            self._fetched(now, answer, errand.contact, effects)
        elif answer.kind == wire.NOTICE:
            notice = wire.unpack(answer.body, wire.Notice)
            if notice is not None and notice.contact.id == answer.sender:
                self._learn([notice.contact])
        else:
            found = wire.unpack(answer.body, wire.Contacts)
            if found is not None and found.contact.id == answer.sender:
                contacts = self._learn([found.contact, *found.contacts[: wire.MAX_CONTACTS]])
            if answer.kind == wire.HELLO and contacts:
                self._hello_answered(now, answer, effects)
        self._return(now, errand, contacts, effects)

    def _return(
        self, now: float, errand: Errand | None, contacts: list[Contact] | None, effects: Effects
    ) -> None:
        """Tell the lookup behind an errand what came of it; None is a failure."""
        if errand is None or errand.lookup is None or errand.lookup not in self._lookups:
            return
        lookup = self._lookups[errand.lookup][0]
        if contacts is None:
            lookup.failed(errand.contact.id)
        else:
            lookup.answered(errand.contact.id, contacts)
        self._advance(now, errand.lookup, effects)

    def _hello_answered(self, now: float, answer: Answer, effects: Effects) -> None:
        self._retry_at = None
        if not self.joined:
            self.joined = True
            effects.record("joined", through=answer.sender.hex(), known=len(self.table))
        target = self.peers.target(self.query) if self._sequence else None
        if target is not None:
            # Whoever is asked on the way learns of us: this is how a node becomes known.
            self._begin_lookup(now, target, effects)

    def _failed(self, now: float, failure: Failure, effects: Effects) -> None:
        effects.forget.append(failure.address)
        errand: Errand | None = failure.tag
        if errand is None:
            effects.record("unreachable", address=failure.address)
            self._retry_at = now + JOIN_RETRY_S if self.alone else self._retry_at
            return
        effects.record("dead", node=errand.contact.id.hex(), kind=failure.kind)
        if failure.kind == wire.FETCH:
            self._fetching.discard(errand.contact.id)
        self._drop(errand.contact.id)
        self._return(now, errand, None, effects)

    def _drop(self, node: NodeId) -> None:
        contact = self.table.contacts.get(node)
        # Others may still tell of it: remember which version is dead, until a newer one speaks.
        self._dead[node] = contact.version if contact else self._dead.get(node, 0)
        self.table.remove(node)

    def _learn(self, contacts: Sequence[Contact], heard: bool = False) -> list[Contact]:
        kept = [c for c in contacts if c.valid(self.size) and c.id != self.me]
        if len(kept) < len(contacts):
            self.counts["bad_contact"] += sum(not c.valid(self.size) for c in contacts)
        alive = []
        for at, contact in enumerate(kept):
            direct = heard or at == 0
            if direct:
                self._dead.pop(contact.id, None)
            if contact.id not in self._dead:
                alive.append(contact)
                self.table.add(contact)
        return alive

    def _fetched(self, now: float, answer: Answer, claimed: Contact, effects: Effects) -> None:
        body = wire.unpack(answer.body, wire.Packet)
        if body is None or not body.data:
            self.counts["empty_fetch"] += 1
            return
        held = self.held.get(claimed.id)
        after = held.packet.sequence if held else 0
        effects.record("fetch", author=claimed.id.hex(), bytes=len(body.data))
        try:
            admitted = self.admission.admit(
                body.data, claimed.id, after, claimed.vector(), claimed.version, self._wall(now)
            )
        except PacketError as error:
            self.counts[f"rejected_{error.reason}"] += 1
            effects.record("reject", author=claimed.id.hex(), reason=error.reason)
            return
        self.held[claimed.id] = admitted
        self._bound_held(effects)
        effects.record("admit", author=claimed.id.hex(), version=admitted.packet.sequence)

    def _bound_held(self, effects: Effects) -> None:
        while len(self.held) > self.admission.config.max_authors:
            prints = {author: held.fingerprint for author, held in self.held.items()}
            wanted = set(self.peers.authors(prints, self.query, self._same))
            author = min(self.held, key=lambda a: (a in wanted, self.held[a].packet.created_s))
            del self.held[author]
            effects.record("dropped", author=author.hex(), reason="max_authors")
