"""The node, sans-I/O: a state machine without thread, clock, socket, file or Trainer.

Three entries: a message came, a timer fired, a period of learning ended.  Each returns what to
send, what to record, and whom to hang up on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from qsynth.dht import Contact, Table
from qsynth.dht.config import Rings
from qsynth.dht.contact import prove
from qsynth.identity import Identity
from qsynth.identity.vouchers import Vouchers
from qsynth.mesh import Answer, Carried, Failure, Request, Rpc
from qsynth.mesh.pressure import Buckets, Budget
from qsynth.mesh.transport import MeshOptions
from qsynth.packet import OutcomePacket, encode_packet, packet_digest
from qsynth.peers import Peers
from qsynth.pipeline.publication import Publication, is_new
from qsynth.protocol import messages
from qsynth.protocol.admit import fetched
from qsynth.protocol.effects import Effects, RequestContext
from qsynth.protocol.handlers import serve
from qsynth.protocol.journal import OWN, Entry
from qsynth.protocol.lookups import Lookups
from qsynth.protocol.maintenance import Maintenance
from qsynth.protocol.membership import Membership
from qsynth.protocol.relays import Relays
from qsynth.protocol.replication import Replication
from qsynth.protocol.restore import budget_of
from qsynth.protocol.service import Service
from qsynth.protocol.withdrawals import Withdrawals
from qsynth.trust import Admission, Admitted
from qsynth.types import Fingerprint, NodeId

NOTICES = 4  # contacts told of news directly; the rest hear of it when they ask
JOIN_ADDRESSES, JOIN_RETRY_S = 3, 0.5

Result = TypeVar("Result")
Kind = TypeVar("Kind", bound=Service)


class Node:
    """One node of the mesh.

    epoch_s: seconds since the epoch at `now` 0 of the driver's clock.  address: where others
    reach it.  fingerprint_size: of this task.  rpc_seed: of request numbers, in simulations.
    vouchers: who is of the fleet, where it has an authority.  services: each made with the node.
    """

    def __init__(
        self,
        identity: Identity,
        address: str,
        fingerprint_size: int,
        admission: Admission,
        peers: Peers,
        dht: Rings,
        mesh: MeshOptions,
        ttl_s: float,
        epoch_s: float,
        seed: int,
        rpc_seed: int | None = None,
        vouchers: Vouchers | None = None,
        services: Sequence[Callable[[Node], Service]] = (),
    ) -> None:
        self.identity, self.address, self.admission = identity, address, admission
        self.vouchers, self._proved = vouchers, Contact(b"", "", b"", 0)
        self.peers, self.dht, self.ttl_s, self.epoch_s = peers, dht, ttl_s, epoch_s
        self.size, self.me = fingerprint_size, identity.id
        self.table = Table(self.me, fingerprint_size, dht)
        self.rpc = Rpc(self.me, mesh, rpc_seed)
        self.counts: Counter[str] = Counter()
        self.buckets, self.budget = Buckets(mesh.requests_per_s), Budget(mesh.bytes_per_hour)
        self.held: dict[NodeId, Admitted] = {}
        self.own_packet: tuple[OutcomePacket, bytes] | None = None
        self.query: Fingerprint = self.table.own  # whom to look for
        self.same, self.sequence = 0.0, 0  # how alike the same data would look; own packets
        self._bootstrap: list[str] = []
        self.entries: list[Entry] = []  # to be remembered, of the call that is being done
        self.sent: list[dict[str, Any]] = []  # that own packets have left in it, and to whom
        self.shadow = False  # looks for others, and publishes nothing
        self.forgotten: set[NodeId] = set()
        self.joined = self.finished = False
        self._now, self.refusal = 0.0, ""  # refusal: the last reason that a peer gave
        self._retry_at: float | None = None
        self._rng = np.random.default_rng([seed, 9])
        self.replication = Replication(self)
        self.lookups = Lookups(self, seed)
        self.maintenance = Maintenance(self, np.random.default_rng([seed, 28]))
        self.relays = Relays(self, mesh, rpc_seed)
        self.withdrawals = Withdrawals(self)
        self.membership = Membership(self, self.relays.lost)
        self.services: Sequence[Service] = [make(self) for make in services]

    # -- entries ---------------------------------------------------------------------------

    def clock(self, now: float) -> None:
        """Set the time of the driver's clock, before anything is entered."""
        self._now = now

    def start(self, now: float, addresses: Sequence[str]) -> Effects:
        """Join through any live node among these addresses; call again with more to retry."""
        effects, self._now = Effects(), now
        self._bootstrap = [a for a in addresses if a != self.address]
        self._hello(now, effects)
        return effects

    def message(
        self, now: float, address: str, payload: bytes, proved: bytes | None = None
    ) -> Effects:
        """Take a message; `address` is where its answer goes, `proved` whom TLS says it is from."""
        effects, self._now = Effects(), now
        if not self.buckets.take(now, proved or address):
            self.counts["rate"] += 1
            effects.forget.append(address)
            return self._done(effects)
        payer, received = proved or address, self.rpc.receive(address, payload, proved, now)
        if isinstance(received, Carried):
            received = self.relays.carried(now, received, effects)
            payer = received.sender if received else payer  # not its relay
        if isinstance(received, Request) and not self.admission.welcomes(received.sender):
            self.counts["unwelcome"] += 1
        elif isinstance(received, Request):
            within = self.buckets.take_more(now, payer, received.kind)
            answer, heard = serve(self, received, within)
            effects.sends.append(answer)
            self.membership.visited(heard)
        elif isinstance(received, Answer):
            self._answered(now, received, effects)
        self.membership.follow(now, effects)
        return self._done(effects)

    def timer(self, now: float) -> Effects:
        """Do what is due."""
        effects, self._now = Effects(), now
        again, failures = self.rpc.due(now)
        effects.sends += again
        for failure in failures:
            self._failed(now, failure, effects)
        if self._retry_at is not None and now >= self._retry_at:
            self._hello(now, effects)
        for service in self.services:
            service.timer(now, effects)
        self.relays.timer(now, effects)
        return self._done(effects)

    def end_period(
        self, now: float, period: int, publication: Publication | None, same: float
    ) -> Effects:
        """Publish a publication if it is new, look for packets, and forget what has expired.

        same: how alike a node of the same data would look.
        """
        effects, self._now = Effects(), now
        if publication is None or publication.contribution is None:
            self.same, self.query = same, publication.query if publication else self.query
        for author in [a for a, h in self.held.items() if h.packet.expired(self.wall_s())]:
            del self.held[author]
            effects.record("expired", author=author.hex())
        self.shadow = self.shadow if publication is None else not publication.shared
        if publication is not None and publication.shared:
            self.publish(now, period, publication, effects)
            for service in self.services:
                service.published(publication)
        if not self.finished:
            self.lookups.period(now, effects)
            self.maintenance.period(now, effects)
            self.replication.period(now, effects)
            self.withdrawals.period(now, effects)
            self.membership.period()
            for service in self.services:
                service.period(now, effects)
        self.entries += budget_of(self)
        return self._done(effects)

    def serve(self, now: float, act: Callable[[float, Effects], Result]) -> tuple[Result, Effects]:
        """Let a service act for the user; return what it gives, and what is to be done."""
        effects, self._now = Effects(), now
        return act(now, effects), self._done(effects)

    def withdraw(self, now: float) -> Effects:
        """Take back what this node has published; call again until all have confirmed."""
        effects, self._now = Effects(), now
        self.withdrawals.withdraw(now, effects)
        return self._done(effects)

    def finish(self, now: float) -> Effects:
        """Tell those known who have not finished that we have; go on serving.  Can be repeated."""
        effects, self._now = Effects(), now
        first, self.finished = not self.finished, True
        known = list(self.table.contacts.values())
        for contact in (c for c in known if first or not c.finished):
            self.ask(now, contact, messages.NOTICE, messages.Notice(self.contact()), effects)
        return self._done(effects)

    def _done(self, effects: Effects) -> Effects:
        effects.entries, self.entries = self.entries, []
        effects.records += self.sent
        self.sent = []
        effects.sends = self.relays.outgoing(effects.sends)
        sends = self.budget.within(self._now, effects.sends)
        if len(sends) < len(effects.sends):
            self.counts["over_budget"] += len(effects.sends) - len(sends)
            effects.sends = sends
        return effects

    # -- views -----------------------------------------------------------------------------

    @property
    def wake_at(self) -> float | None:
        """Return when `timer` wants to be called."""
        times = [self.rpc.wake_at, self._retry_at, self.relays.wake_at]
        times += [service.wake_at for service in self.services]
        return min((t for t in times if t is not None), default=None)

    @property
    def alone(self) -> bool:
        """Return whether nobody is known."""
        return len(self.table) == 0

    @property
    def all_finished(self) -> bool:
        """Return whether every node known has finished."""
        return all(contact.finished for contact in self.table.contacts.values())

    def service(self, kind: type[Kind]) -> Kind | None:
        """Return the service of a class; None where this node has none."""
        return next((each for each in self.services if isinstance(each, kind)), None)

    def contact(self) -> Contact:
        """Return who I am now."""
        if self.shadow:
            made = Contact(self.me, self.address, bytes(self.size), 0, self.finished)
        else:
            own = self.table.own.tobytes()
            density = self.table.density if self.table.crowded else 0
            made = Contact(self.me, self.address, own, self.sequence, self.finished, density)
        if self.vouchers is None:
            return made
        scope, voucher, known = self.admission.task_digest, self.vouchers.own, self._proved
        if msgspec.structs.replace(known, proof=b"") != made or known.voucher != voucher:
            self._proved = prove(made, self.identity, voucher, scope, self.wall_s())
        return self._proved

    def authors(self) -> dict[NodeId, Admitted]:
        """Return the admitted packets to learn from now, by author."""
        prints = {author: held.fingerprint for author, held in self.held.items()}
        chosen = self.peers.authors(prints, self.query, self.same)
        beside = {a: e for service in self.services for a, e in service.evidence().items()}
        known = [author for service in self.services for author in service.covered()]
        return {a: self.held[a] for a in chosen if a not in known} | beside

    # -- publishing ------------------------------------------------------------------------

    def wall_s(self) -> float:
        """Return seconds since the epoch at the newest entry."""
        return self.epoch_s + self._now

    def publish(self, now: float, period: int, publication: Publication, effects: Effects) -> None:
        """Publish what says more than the packet out there, or follows one that is half expired."""
        own = self.own_packet and self.own_packet[0]
        if publication.contribution or not is_new(publication, own, self.wall_s()):
            return
        # From the clock, so that a node that has lost its state is not behind its own past.
        self.sequence = max(self.sequence + 1, int(self.wall_s()))
        packet = OutcomePacket(
            task=self.admission.task_digest,
            encoder=self.admission.encoder_digest,
            author=self.identity.public_key,
            sequence=self.sequence,
            created_s=self.wall_s(),
            ttl_s=int(self.ttl_s),
            support=publication.support,
            payload=publication.payload,
        )
        data = encode_packet(packet, self.identity)
        self.own_packet = (packet, data)
        self.entries.append(Entry(OWN, data, None, self.sequence))
        self.replication.published()
        self.lookups.changed()
        self.table.set_own(publication.fingerprint)
        effects.record(
            "publish",
            period=period,
            version=self.sequence,
            bytes=len(data),
            digest=packet_digest(data).hex(),
            fingerprint=publication.fingerprint.tobytes().hex(),
        )
        for contact in self.table.alike(publication.fingerprint, NOTICES):
            self.ask(now, contact, messages.NOTICE, messages.Notice(self.contact()), effects)

    # -- asking ----------------------------------------------------------------------------

    def _hello(self, now: float, effects: Effects) -> None:
        self._retry_at = now + JOIN_RETRY_S if self.alone and self._bootstrap else None
        if not self._bootstrap:
            return
        count = min(JOIN_ADDRESSES, len(self._bootstrap))
        for row in self._rng.choice(len(self._bootstrap), size=count, replace=False):
            self.knock(now, self._bootstrap[int(row)], effects)

    def knock(self, now: float, address: str, effects: Effects) -> None:
        """Ask whoever is at an address to let us join."""
        task = self.admission.task.field_digests()
        body = messages.Hello(self.contact(), task, self.admission.encoder_digest)
        effects.sends += self.rpc.request(now, address, messages.HELLO, messages.pack(body), None)

    def ask(
        self,
        now: float,
        contact: Contact,
        kind: str,
        body: msgspec.Struct,
        effects: Effects,
        context: RequestContext | None = None,
    ) -> bool:
        """Ask a contact; return whether the request was sent."""
        if self.budget.spent(now):
            self.counts["over_budget"] += 1
            return False
        tag = context or RequestContext(contact, None)
        sends = self.rpc.request(now, contact.address, kind, messages.pack(body), tag)
        effects.sends += sends
        return bool(sends)

    def _answered(self, now: float, answer: Answer, effects: Effects) -> None:
        context: RequestContext | None = answer.tag
        contacts: list[Contact] | None = None
        if context is not None and answer.kind == messages.FETCH:
            self.lookups.fetching.discard((context.author or context.contact).id)
        wrong = context is not None and answer.sender != context.contact.id
        if context is not None and (wrong or not self.admission.welcomes(answer.sender)):
            self.counts["impostor" if wrong else "unwelcome"] += 1  # not who was asked, or denied
            self.membership.drop(context.contact.id)
            if context.reply is not None:
                context.reply.failed(now, effects)
        elif context is not None and context.reply is not None:
            context.reply.answered(now, answer, effects)
        elif answer.kind == messages.WITHDRAW:
            told = context.withdrawn if context is not None else None
            self.withdrawals.answered(answer.sender, answer.refused, told)
        elif answer.kind == messages.RELAY and context is not None:
            self.relays.answered(now, answer, context.contact, effects)
        elif answer.refused:
            refusal = messages.unpack(answer.body, messages.Refusal)
            reason = refusal.reason[:200] if refusal else "malformed"
            if reason != self.refusal:  # a joiner tries again and again: say it once
                self.refusal = reason
                effects.record("refused", reason=reason)
        elif answer.kind == messages.FETCH and context is not None:
            fetched(self, answer, context.author or context.contact, effects)
        elif answer.kind in (messages.NOTICE, messages.KEEP):
            notice = messages.unpack(answer.body, messages.Notice)
            if notice is not None and notice.contact.id == answer.sender:
                self.membership.learn([notice.contact])
                if answer.kind == messages.KEEP:
                    self.replication.kept_by(answer.sender)
        else:
            found = messages.unpack(answer.body, messages.Contacts)
            if found is not None and found.contact.id == answer.sender:
                self.refusal = ""  # somebody deals with it
                contacts = self.membership.heard(found)
                self.replication.offered(found.orphans, found.contact)
            if answer.kind == messages.HELLO and contacts:
                self._hello_answered(now, answer, effects)
        self.lookups.returned(now, context, contacts, effects)

    def _hello_answered(self, now: float, answer: Answer, effects: Effects) -> None:
        self._retry_at = None
        if not self.joined:
            self.joined = True
            effects.record("joined", through=answer.sender.hex(), known=len(self.table))
        if self.sequence:
            # Whoever is asked on the way learns of us: this is how a node becomes known.
            self.lookups.begin(now, effects)

    def _failed(self, now: float, failure: Failure, effects: Effects) -> None:
        effects.forget.append(failure.address)
        context: RequestContext | None = failure.tag
        if context is None:
            effects.record("unreachable", address=failure.address)
            self._retry_at = now + JOIN_RETRY_S if self.alone else self._retry_at
            return
        effects.record("dead", node=context.contact.id.hex(), kind=failure.kind)
        if failure.kind == messages.FETCH:
            self.lookups.soon()  # others may keep what it cannot give
            self.lookups.fetching.discard((context.author or context.contact).id)
        self.membership.drop(context.contact.id)
        if context.reply is not None:
            context.reply.failed(now, effects)
        self.lookups.returned(now, context, None, effects)
