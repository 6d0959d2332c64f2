"""Find nodes of one's situation through the DHT, and add up with them.

A node that has numbers to add offers to, under the key of its situation.  Of those who offer, the
first in an order that all know collects them; when it does not, the next one does.  Nobody is the
coordinator of anything: a cohort ends with its sum, and each member holds that.  Sans-I/O.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np

from qsynth.cohort import masks, messages
from qsynth.cohort.collector import Collector, Requests
from qsynth.cohort.held import CohortNode, HeldSum, Told, hold
from qsynth.cohort.member import Member
from qsynth.cohort.messages import Offer, Place
from qsynth.cohort.request import MemberRequest
from qsynth.cohort.session import Session
from qsynth.dht import Contact
from qsynth.dht.record import Record, record_key
from qsynth.errors import PacketError, ShapeError
from qsynth.identity import node_id
from qsynth.mesh import Request
from qsynth.peers.base import Likeness
from qsynth.pipeline.publication import Publication
from qsynth.privacy import Contribution
from qsynth.protocol import messages as wire
from qsynth.protocol.effects import Effects, RequestContext
from qsynth.protocol.journal import COHORT, Entry
from qsynth.protocol.service import Service
from qsynth.records.service import Records
from qsynth.trust import Admitted
from qsynth.types import NodeId

OFFER_S = 120.0  # an offer stands, if nobody collects
SESSION_S = 60.0  # without a word, until a member no longer waits
PATIENCE = 3  # periods without a new offer, until a cohort begins that is not full
TURN = 2  # periods that each of those who offer has, before the next one collects


class Cohorts(Service):
    """Add one node's numbers to those of its cohort, and hold the sum.

    alike: how alike two fingerprints are.  draw: random bytes; of the system, but in simulations.
    """

    bodies: ClassVar[Mapping[str, type]] = {
        messages.BEGIN: messages.Begin,
        messages.ADD: messages.Add,
        messages.AGREE: messages.Agree,
        messages.OPEN: messages.Open,
        messages.SHOW: messages.Show,
        messages.END: messages.End,
    }

    def __init__(
        self, node: CohortNode, alike: Likeness, draw: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.node, self.alike, self.author = node, alike, node.identity.public_key
        self.contribution: Contribution | None = None
        self.told: Told | None = None
        self.spent = False  # nothing is left to be told
        self._draw = draw
        self._secret = draw(masks.SECRET_BYTES)  # of the key of an offer
        self._offered_s = -np.inf
        self._waited = self._seen = self._since = 0  # periods; offers seen, and since when
        self._contacts: dict[bytes, Contact] = {}  # of a roster, by author
        self._member: Member | None = None
        self._until_s = 0.0
        self._mine: Offer | None = None
        self._leaving = False  # has an offer out there that no longer stands
        self._collector_id = b""
        self._answers: dict[tuple[str, int, int], tuple[bytes, msgspec.Struct]] = {}
        self._collector: Collector | None = None
        self._held: HeldSum | None = None
        self._distrusted: set[NodeId] = set()
        self._forgotten: set[NodeId] = set()
        self._news: list[tuple[str, dict[str, object]]] = []

    # -- what the node has to add ----------------------------------------------------------

    def published(self, publication: Publication) -> None:
        """Take what there is to add; what has been added is not taken out of a sum again."""
        given = publication.contribution
        if given is None or given is self.contribution:
            return
        if self.contribution is not None:
            self.told = self._held = self._member = self._collector = None  # of other data
        self.contribution, self.spent = given, False
        if self.told is not None and self.told.records != given.records:
            self.told = None  # of data that changed while the node was away
        if self.told is not None:
            self._held = hold(self.node, self.alike, given, self.told, self._forgotten)

    @property
    def situation(self) -> bytes:
        """Return the key that nodes of the same situation and terms meet under."""
        assert self.contribution is not None
        admission = self.node.admission
        terms = self.contribution.cohort.terms.encode()
        return record_key(
            messages.digest(b"situation", admission.task_digest, admission.encoder_digest, terms)
        )

    def evidence(self) -> Mapping[NodeId, Admitted]:
        """Return the sum of the others: while a node's data stand, it does."""
        return {} if self._held is None else self._held.evidence

    def entries(self) -> list[Entry]:
        """Return the sum, which a node must not forget: it is told once."""
        return [] if self.told is None else [Entry(COHORT, msgspec.msgpack.encode(self.told))]

    def restore(self, entry: Entry) -> None:
        """Take the sum of an earlier life."""
        if entry.kind == COHORT:
            self.told = wire.unpack(entry.data, Told)

    # -- finding each other ----------------------------------------------------------------

    def period(self, now: float, effects: Effects) -> None:
        """Offer to add, look who else does, and publish the sum that one has collected."""
        self._say(effects)
        records = self.node.service(Records)
        assert records is not None  # every node has it
        if self._held is not None and self._held.publication is not None:
            self.node.publish(now, 0, self._held.publication, effects)
        if self._leaving and self._mine is not None:
            self._leaving = False
            records.store(now, self.situation, b"", OFFER_S, effects)
        if self._member is not None and self.node.wall_s() > self._until_s:
            self._distrusted.add(self._collector_id)  # who begins and never ends holds members up
            self._ended()
            effects.record("cohort_lost", reason="nobody collects it any more")
        if not self._ready or self._member is not None or self._collector is not None:
            return
        self._waited += 1
        if self.node.wall_s() > self._offered_s + OFFER_S / 2:
            self._offer(now, records, effects)
        records.get(now, self.situation, effects, then=self._found)

    @property
    def _ready(self) -> bool:
        """Return whether there is something to add, which has not been added."""
        return self.contribution is not None and self.told is None and not self.spent

    def _offer(self, now: float, records: Records, effects: Effects) -> None:
        """Tell those who keep records that one would add; under a new key each time."""
        self._secret = self._draw(masks.SECRET_BYTES)  # of the key of an offer
        self._offered_s = self.node.wall_s()
        member = self.node.vouchers
        offer = messages.make_offer(
            self.node.identity,
            self.situation,
            masks.public_key(masks.private_key(self._secret)),
            int(1000 * (self.node.wall_s() + OFFER_S)),
            b"" if member is None else member.own,
        )
        value = msgspec.msgpack.encode(Place(offer, self.node.contact()))
        self._mine = offer
        records.store(now, self.situation, value, OFFER_S, effects)

    def _found(self, now: float, records: list[Record], effects: Effects) -> None:
        """Collect those who offer, if they are enough, and it is one's turn."""
        busy = self._member is not None or self._collector is not None
        if busy or self.contribution is None or not self._ready or self._mine is None:
            return
        cohort = self.contribution.cohort
        places = [Place(self._mine, self.node.contact())]
        places += [place for record in records if (place := self._place(record)) is not None]
        places.sort(key=lambda place: hashlib.sha256(self.situation + place.offer.author).digest())
        chosen = places[: cohort.size]
        mine = next((i for i, p in enumerate(chosen) if p.offer.author == self.author), None)
        if len(places) > self._seen:  # more may turn up yet
            self._seen, self._since = len(places), self._waited
        due = 0 if len(chosen) == cohort.size else self._since + PATIENCE
        if mine is None or len(chosen) < cohort.smallest or self._waited <= due + TURN * mine:
            return
        self._collect(now, chosen, effects)

    def _place(self, record: Record) -> Place | None:
        """Return the offer of a record, where it is one of somebody else to deal with."""
        place = wire.unpack(record.value, Place)
        if place is None or place.offer.author != record.author or record.author == self.author:
            return None
        if place.contact.id != place.offer.id or not self._good(place.offer):
            return None
        known = self.node.membership
        return place if known.valid(place.contact) and not known.gone(place.contact.id) else None

    def _good(self, offer: Offer) -> bool:
        now_s, member = self.node.wall_s(), self.node.vouchers
        vouched = member is None or member.vouches(offer.id, offer.voucher, now_s)
        fine = vouched and self.node.admission.welcomes(offer.id) and masks.usable(offer.key)
        return fine and messages.holds(offer, self.situation, 1000.0 * now_s)

    # -- collecting -------------------------------------------------------------------------

    def _collect(self, now: float, places: Sequence[Place], effects: Effects) -> None:
        assert self.contribution is not None
        roster = [place.offer for place in places]
        mine = next(i for i, offer in enumerate(roster) if offer.author == self.author)
        name, least = self._draw(masks.SECRET_BYTES), self.contribution.smallest
        session = Session(name, self.situation, roster, least, mine)
        member = Member(self.node.identity, self._secret, session, self.contribution, self._draw)
        self._contacts = {place.offer.author: place.contact for place in places}
        self._collector = Collector(self.node.contact(), member)
        effects.record("cohort_began", asked=len(roster))
        self._send(now, self._collector.begin(), effects)

    def _send(self, now: float, requests: Requests, effects: Effects) -> None:
        """Ask members; who cannot be asked has not answered."""
        while requests:
            made: Requests = []
            assert self._collector is not None
            session = self._collector.member.session
            for place, kind, body in requests:
                contact = self._contacts[session.roster[place].author]
                reply = MemberRequest(self, session.name, place, kind)
                context = RequestContext(contact, None, reply)
                if not self.node.ask(now, contact, kind, body, effects, context):
                    made += self._step(place, kind, None)
            requests = made
        self._settle(now, effects)

    def _step(self, place: int, kind: str, body: msgspec.Struct | None) -> Requests:
        assert self._collector is not None
        try:
            return self._collector.answered(place, kind, body)
        except (PacketError, ShapeError):
            self._collector.ended = False
            return []

    def answered(
        self, now: float, asked: MemberRequest, body: msgspec.Struct | None, effects: Effects
    ) -> None:
        """Take a member's answer, or that it gives none."""
        collector = self._collector
        if collector is None or collector.member.session.name != asked.session:
            return  # of a session that has ended
        if asked.kind != messages.END:
            self._send(now, self._step(asked.place, asked.kind, body), effects)

    def _settle(self, now: float, effects: Effects) -> None:
        """Tell all members how it has ended, once it has."""
        collector = self._collector
        if collector is None or collector.ended is None:
            return
        self._collector, member = None, collector.member
        last = member.openings[-1] if collector.ended else None
        body = messages.End(self.node.contact(), member.session.name, last)
        for place, offer in enumerate(member.session.roster):
            if place != member.place:
                contact = self._contacts[offer.author]
                context = RequestContext(
                    contact, None, MemberRequest(self, member.session.name, place, messages.END)
                )
                self.node.ask(now, contact, messages.END, body, effects, context)
        if collector.ended:
            self._take(member, True)
        else:
            self._ended()
            effects.record("cohort_lost", reason="too few members, or a sum that does not hold")
        self._say(effects)

    # -- answering -------------------------------------------------------------------------

    def answer(self, request: Request, body: messages.Step) -> msgspec.Struct:
        """Return a member's answer; the same to the same request, and one a step."""
        kind, sender, seen = request.kind, request.sender, hashlib.sha256(request.body).digest()
        try:
            if isinstance(body, messages.Begin):
                self._join(sender, body)
            member = self._member
            mine = member and (member.session.name, self._collector_id)
            if member is None or mine != (body.session, sender):
                return wire.Refusal("cohort: no such session")
            place = kind, getattr(body, "step", 0), getattr(body, "place", 0)
            if place not in self._answers or self._answers[place][0] != seen:
                if kind == messages.BEGIN and place in self._answers:
                    raise PacketError("replay")
                self._answers[place] = seen, self._answered(member, body)
                self._until_s = self.node.wall_s() + SESSION_S  # what is only repeated is no step
            return self._answers[place][1]
        except (PacketError, ShapeError) as error:
            reason = error.reason if isinstance(error, PacketError) else "range"
            self._refused(reason, sender)
            return wire.Refusal(f"cohort: {reason}")

    def _refused(self, reason: str, sender: NodeId) -> None:
        if reason == "budget":
            self.spent = True
            self._news.append(("privacy_spent", {}))
        if reason == "sum":  # shown by signatures: no mistake of the network
            self._distrusted.add(sender)
            self._news.append(("reject", {"author": sender.hex(), "reason": "cohort_sum"}))

    def _join(self, sender: NodeId, body: messages.Begin) -> None:
        """Become a member of a session.  Raises PacketError where it is none to take part in."""
        if self._member is not None and self._member.session.name == body.session:
            return
        free = self._member is None or self.node.wall_s() > self._until_s
        if not free or self._collector is not None or not self._ready:
            raise PacketError("busy")
        if sender in self._distrusted or len(body.session) != masks.SECRET_BYTES:
            raise PacketError("denied")
        authors = [offer.author for offer in body.roster[: messages.MOST + 1]]
        if len(set(authors)) != len(body.roster) or sender not in map(node_id, authors):
            raise PacketError("schema", "a roster")
        if not all(offer.author == self.author or self._good(offer) for offer in body.roster):
            raise PacketError("denied", "an offer that does not hold")
        assert self.contribution is not None
        least, by = self.contribution.smallest, list(map(node_id, authors)).index(sender)
        session = Session(body.session, self.situation, body.roster, least, by)
        self._member = Member(
            self.node.identity, self._secret, session, self.contribution, self._draw
        )
        self._collector_id, self._answers = sender, {}

    def _answered(self, member: Member, body: messages.Step) -> msgspec.Struct:
        if isinstance(body, messages.Begin):
            return member.begun
        if isinstance(body, messages.Add):
            made = member.add(body)
            self._sent(self._collector_id, member, body.step, made)
            return made
        if isinstance(body, messages.Agree):
            return member.agree(body)
        if isinstance(body, messages.Open):
            return member.open(body)
        if isinstance(body, messages.Show):
            return member.show(body)
        if body.last is None:
            self._ended()
        else:
            member.end(body.last)
            self._take(member, False)
        return messages.Taken(member.session.name)

    def _sent(self, to: NodeId, member: Member, step: int, made: messages.Added) -> None:
        """Note for the ledger that masked numbers leave."""
        entry: dict[str, object] = {"event": "sent", "to": to.hex()}
        entry |= {"digest": member.session.name.hex(), "version": step}
        entry |= {"payload": messages.digest(made.numbers).hex(), "bytes": len(made.numbers)}
        self.node.sent.append(entry | {"how": "masked"})

    # -- the sum ---------------------------------------------------------------------------

    def _ended(self) -> None:
        """Be free for another session, under another key."""
        self._member, self._offered_s = None, -np.inf
        self._waited = self._seen = self._since = 0
        self._secret = self._draw(masks.SECRET_BYTES)  # of the key of an offer

    def _take(self, member: Member, collected: bool) -> None:
        """Hold a sum, and remember it."""
        assert self.contribution is not None
        roster, first = member.session.roster, member.openings[0]
        others = [roster[place] for place in first.members if place != member.place]
        by = self._collector_id
        author = others[0].author if collected else next(o.author for o in roster if o.id == by)
        told = Told(
            member.name,
            self.contribution.records,
            collected,
            author,
            self.node.wall_s(),
            [offer.id for offer in others],
            [(s.numbers.tobytes(), s.members) for s in member.sums],
        )
        self._ended()
        self.told = told
        self.node.entries.append(Entry(COHORT, msgspec.msgpack.encode(told)))
        self._leaving = True
        self._held = hold(self.node, self.alike, self.contribution, told, self._forgotten)
        said = {"members": told.members, "collected": collected, "author": node_id(author).hex()}
        self._news.append(("cohort", said | {"others": [each.hex() for each in told.others]}))

    def forget(self, author: NodeId) -> None:
        """Drop a sum that an author is in, for good: it cannot be taken out."""
        self._forgotten.add(author)
        if self.told is not None and self.told.has(author) and self._held is not None:
            self._held = HeldSum({}, None)

    def covered(self) -> set[NodeId]:
        """Return who has published the sum that the node has a part in: it is not learned twice."""
        return set() if self.told is None else {node_id(self.told.author)}

    def _say(self, effects: Effects) -> None:
        for event, values in self._news:
            effects.record(event, **values)
        self._news = []
