"""Records under a key: stored with the nodes nearest to it, and read from them.  Sans-I/O.

Source: Maymounkov & Mazieres 2002, sections 2.3 (store and find value) and 2.5 (republishing,
and handing over to newcomers).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import msgspec
from msgspec import Struct

from qsynth.dht import Contact, Lookup, Table, exact_limits
from qsynth.dht.config import Rings
from qsynth.dht.lookup import xor_distance
from qsynth.dht.record import LONGEST_MS, Record, merge, sign_record
from qsynth.dht.record_store import RecordStore
from qsynth.identity import Identity, node_id
from qsynth.mesh import Answer, Request
from qsynth.protocol import messages
from qsynth.protocol.effects import Asker, Effects, RequestContext
from qsynth.protocol.journal import RECORD, Entry
from qsynth.protocol.service import Service
from qsynth.types import NodeId

MOST_TOLD = 32 * 1024  # bytes of records in an answer
MOST_JOBS = 24  # under way at once; the rest wait their turn
FAR = 4  # times as many nodes as keep a record, nearer to its key: it is not for us
CHECK_S = 1.0
MOST_REPUBLISHED = 8  # records at a check
MOST_HANDED = 8  # records to newcomers between two checks
MOST_LOOKED = 128  # keys looked at for a newcomer
MOST_GREETED = 16  # newcomers that are looked at between two checks: names cost nothing to make


class Keeper(Asker, Protocol):
    """What records need of a node."""

    identity: Identity
    table: Table
    dht: Rings
    counts: Counter[str]
    entries: list[Entry]


Then = Callable[[float, list[Record], Effects], None]


@dataclass
class Job:
    """Hold a store (of `record`) or a get under way.

    placing: the nodes nearest to the key are known, and are being asked to keep the record.
    keeping: who has said that it keeps it; waiting: who has not answered yet.  author: whose record
    is read; empty: everybody's.  then: what takes what was read, where the node itself asks.
    """

    key: bytes
    lookup: Lookup
    began: float
    record: Record | None = None
    author: bytes = b""
    then: Then | None = None
    placing: bool = False
    found: list[Record] = field(default_factory=list)
    holders: int = 0
    keeping: set[NodeId] = field(default_factory=set)
    waiting: set[NodeId] = field(default_factory=set)


@dataclass(frozen=True)
class Pending:
    """A request to a node, for the store or get of a ticket."""

    records: Records
    ticket: int
    contact: Contact

    def answered(self, now: float, answer: Answer, effects: Effects) -> None:
        """Take the answer."""
        self.records.answered(now, answer, self.ticket, self.contact, effects)

    def failed(self, now: float, effects: Effects) -> None:
        """Note that none has come."""
        self.records.failed(now, self.ticket, self.contact, effects)


class Records(Service):
    """Store and get records for the user; keep, tell and republish those of others.

    What came of a store or a get stands in `Effects.done` under the ticket that begun it: how
    many nodes keep the record, or the newest record of each author.
    """

    bodies: ClassVar[Mapping[str, type]] = {
        messages.STORE: messages.StoreRequest,
        messages.FIND: messages.Find,
    }

    def __init__(self, node: Keeper) -> None:
        self.node = node
        self.kept = RecordStore(node.me, node.dht.max_records, node.dht.record_republish_s)
        self._jobs: dict[int, Job] = {}
        self._queue: deque[tuple[int, Job]] = deque()
        self._beginning = False
        self._handed = self._greeted = 0
        self._ticket = self._sequence = 0
        self._check_at = 0.0

    # -- for the user ----------------------------------------------------------------------

    def store(self, now: float, key: bytes, value: bytes, ttl_s: float, effects: Effects) -> int:
        """Begin to store a value of one's own; return its ticket.

        It replaces what one has stored under the key before.  Raises ValueError where the key has
        not 32 bytes, or the value too many.
        """
        if not 0.0 < ttl_s <= LONGEST_MS / 1000.0:
            raise ValueError(f"a ttl is above 0 and at most {LONGEST_MS // 1000} s, not {ttl_s:g}")
        now_ms, member = int(1000.0 * self.node.wall_s()), self.node.vouchers
        self._sequence = max(self._sequence + 1, now_ms)
        expires = now_ms + int(1000.0 * ttl_s)
        voucher = b"" if member is None else member.own
        record = sign_record(self.node.identity, key, value, self._sequence, expires, voucher)
        return self._begin(now, key, record, effects)

    def get(
        self,
        now: float,
        key: bytes,
        effects: Effects,
        author: bytes = b"",
        then: Then | None = None,
    ) -> int:
        """Begin to read what is stored under a key, of all authors or one; return its ticket.

        then: takes what was read.  Raises ValueError where the key has not 32 bytes.
        """
        if not isinstance(key, bytes) or len(key) != len(self.node.me):
            raise ValueError(f"a key has {len(self.node.me)} bytes; record_key makes one of a name")
        return self._begin(now, key, None, effects, author, then)

    @property
    def wake_at(self) -> float | None:
        """Return when `timer` wants to be called."""
        return self._check_at if len(self.kept) else None

    def timer(self, now: float, effects: Effects) -> None:
        """Forget what has expired, and see that what is kept is kept by those who should."""
        if now < self._check_at:
            return
        self._check_at, self._handed, self._greeted = now + CHECK_S, 0, 0
        now_s = self.node.wall_s()
        if expired := self.kept.expire(now_s):
            self.node.counts["record_expired"] += expired
        for record in self.kept.due(now_s, MOST_REPUBLISHED):
            self._begin(now, record.key, record, effects)

    def entries(self) -> list[Entry]:
        """Return the records that are kept."""
        return [Entry(RECORD, msgspec.msgpack.encode(record)) for record in self.kept.every()]

    def restore(self, entry: Entry) -> None:
        """Keep a record again."""
        if entry.kind == RECORD:
            self.kept.put(msgspec.msgpack.decode(entry.data, type=Record), self.node.wall_s())

    def refuse(self, author: NodeId) -> None:
        """Drop the records of an author that is of the fleet no more."""
        self.kept.refuse(author)

    # -- for peers -------------------------------------------------------------------------

    def answer(self, request: Request, body: messages.StoreRequest | messages.Find) -> Struct:
        """Keep a record of another, or tell what is kept."""
        if isinstance(body, messages.Find):
            return self.tell(body)
        return self.keep(body, request)

    def keep(
        self, body: messages.StoreRequest, request: Request
    ) -> messages.Contacts | messages.Refusal:
        """Keep a record of another."""
        if not self._of_the_fleet(body.record):
            return messages.Refusal("record: author")
        # Without TLS a sender's name costs nothing, a connection does.
        sure = self.node.vouchers is not None
        storer = request.sender if sure else request.address.rpartition("@")[2].encode()
        if len(body.record.key) == len(self.node.me) and self._far(body.record.key):
            return messages.Refusal("record: far")
        refusal = self.kept.put(body.record, self.node.wall_s(), storer)
        if refusal is not None:
            return messages.Refusal(f"record: {refusal}")
        self._remember(body.record)
        return messages.Contacts(self.node.contact(), self._near(body.record.key, body.contact.id))

    def tell(self, body: messages.Find) -> messages.Found | messages.Refusal:
        """Tell what is kept under a key, of all authors or one, and who else may know."""
        if len(body.key) != len(self.node.me):
            return messages.Refusal("malformed")
        told, size = [], 0
        for record in merge(self.kept.get(body.key, self.node.wall_s())):
            if body.author not in (b"", record.author):
                continue
            size += len(record.signed()) + len(record.signature)
            if size > MOST_TOLD:
                self.node.counts["record_untold"] += 1
                break
            told.append(record)
        near = self._near(body.key, body.contact.id)
        return messages.Found(self.node.contact(), near, told)

    def newcomer(self, now: float, contact: Contact, effects: Effects) -> None:
        """Hand over to a contact that is new what it should keep, where no one else is to do so.

        Who is to: of all that one knows, the nearest to the key beside the newcomer.
        """
        replicas = self.node.dht.record_replicas
        self._greeted += 1
        if self._greeted > MOST_GREETED:
            return  # its records come when they are republished
        for key in self.kept.some_keys(MOST_LOOKED):
            theirs = xor_distance(contact.id, key)
            near = self._near(key, contact.id)
            if len(near) == replicas and theirs > xor_distance(near[-1].id, key):
                continue
            if near and xor_distance(near[0].id, key) < xor_distance(self.node.me, key):
                continue
            for record in self.kept.get(key, self.node.wall_s()):
                if self._handed >= MOST_HANDED:
                    return  # the rest when it is republished
                self._handed += 1
                body = messages.StoreRequest(self.node.contact(), record)
                self.node.ask(now, contact, messages.STORE, body, effects)

    def _of_the_fleet(self, record: Record) -> bool:
        """Return whether a record's author is one, where an authority tells who is."""
        member, author = self.node.vouchers, node_id(record.author)
        return member is None or member.vouches(author, record.voucher, self.node.wall_s())

    def _remember(self, record: Record) -> None:
        self.node.entries.append(Entry(RECORD, msgspec.msgpack.encode(record)))

    def _far(self, key: bytes) -> bool:
        most = FAR * self.node.dht.record_replicas
        near = self.node.table.nearest(key, most)
        mine = xor_distance(self.node.me, key)
        return len(near) == most and xor_distance(near[-1].id, key) < mine

    def _near(self, key: bytes, asker: NodeId) -> list[Contact]:
        return self.node.table.nearest(key, self.node.dht.record_replicas, [asker])

    # -- jobs ------------------------------------------------------------------------------

    def _begin(
        self,
        now: float,
        key: bytes,
        record: Record | None,
        effects: Effects,
        author: bytes = b"",
        then: Then | None = None,
    ) -> int:
        replicas = self.node.dht.record_replicas
        limits = exact_limits(self.node.dht, replicas)
        start = self.node.table.nearest(key, replicas)
        ticket = self._ticket = self._ticket + 1
        lookup = Lookup(key, replicas, self.node.me, start, limits)
        job = Job(key, lookup, now, record, author, then)
        own = self.kept.get(key, self.node.wall_s()) if record is None else []
        job.found = [r for r in own if author in (b"", r.author)]
        job.holders = int(bool(job.found))
        # Whoever keeps everyone need not look first: whom it asks to keep it are the nearest.
        job.placing = record is not None and not self.node.table.crowded
        self._queue.append((ticket, job))
        self._next(now, effects)
        return ticket

    def _next(self, now: float, effects: Effects) -> None:
        """Begin what waits, as far as there is room; what ends at once makes room at once."""
        if self._beginning:
            return
        self._beginning = True
        while self._queue and len(self._jobs) < MOST_JOBS:
            ticket, job = self._queue.popleft()
            job.began, self._jobs[ticket] = now, job
            self._advance(now, ticket, effects)
        self._beginning = False

    def _advance(self, now: float, ticket: int, effects: Effects) -> None:
        job = self._jobs[ticket]
        late = now - job.began > self.node.dht.lookup_s
        while not late and (chosen := job.lookup.next()):
            for contact in chosen:
                if not self._ask(now, contact, ticket, job, effects):
                    job.lookup.failed(contact.id)
        enough = job.record is None and job.holders >= self.node.dht.record_reads
        if not (late or enough or job.lookup.done):
            return
        if job.record is not None and not job.placing:
            job.placing = True
            for contact in job.lookup.result().contacts:
                if self._ask(now, contact, ticket, job, effects):
                    job.waiting.add(contact.id)
        if not job.waiting:
            self._end(now, ticket, job, effects)
            self._next(now, effects)

    def _ask(self, now: float, contact: Contact, ticket: int, job: Job, effects: Effects) -> bool:
        mine = self.node.contact()
        context = RequestContext(contact, None, Pending(self, ticket, contact))
        if job.record is None:
            find = messages.Find(mine, job.key, job.author)
            return self.node.ask(now, contact, messages.FIND, find, effects, context)
        if job.placing:
            body: Struct = messages.StoreRequest(mine, job.record)
            return self.node.ask(now, contact, messages.STORE, body, effects, context)
        body = messages.Search(mine, job.key, self.node.dht.record_replicas)
        return self.node.ask(now, contact, messages.NEAREST, body, effects, context)

    def _end(self, now: float, ticket: int, job: Job, effects: Effects) -> None:
        del self._jobs[ticket]
        if job.record is None:
            found = [each for each in merge(job.found) if self._of_the_fleet(each)]
            effects.done.append((ticket, found))
            if job.then is not None:
                job.then(now, found, effects)
            return
        now_s, nearest = self.node.wall_s(), job.lookup.result().contacts
        keeping = sum(contact.id in job.keeping for contact in nearest)
        mine = xor_distance(self.node.me, job.key)
        if keeping < self.node.dht.record_replicas or mine < xor_distance(nearest[-1].id, job.key):
            if self.kept.put(job.record, now_s) is None:
                self._remember(job.record)
                keeping += 1
        elif job.record.author != self.node.identity.public_key:
            self.kept.drop(job.record)  # enough others are nearer to it now
        effects.done.append((ticket, keeping))

    def answered(
        self, now: float, answer: Answer, ticket: int, contact: Contact, effects: Effects
    ) -> None:
        """Take the answer of a node, also one that says no."""
        body: messages.Found | messages.Contacts | None
        if answer.kind == messages.FIND:
            body = messages.unpack(answer.body, messages.Found)
        else:
            body = messages.unpack(answer.body, messages.Contacts)
        if answer.refused or (body is not None and body.contact.id != answer.sender):
            body = None
        contacts = [] if body is None else self.node.membership.heard(body)
        job = self._jobs.get(ticket)
        if job is None:
            return  # a get that had read enough
        if answer.kind == messages.STORE and body is not None:
            job.keeping.add(answer.sender)
        elif isinstance(body, messages.Found):
            self._read(body.records, job)
        self._returned(now, ticket, contact.id, contacts, effects)

    def failed(self, now: float, ticket: int, contact: Contact, effects: Effects) -> None:
        """Note that a node has not answered."""
        if ticket in self._jobs:
            self._returned(now, ticket, contact.id, None, effects)

    def _returned(
        self,
        now: float,
        ticket: int,
        node: NodeId,
        contacts: list[Contact] | None,
        effects: Effects,
    ) -> None:
        job = self._jobs[ticket]
        if node in job.waiting:
            job.waiting.discard(node)
        elif contacts is None:
            job.lookup.failed(node)
        else:
            job.lookup.answered(node, contacts)
        self._advance(now, ticket, effects)

    def _read(self, records: list[Record], job: Job) -> None:
        now_ms = 1000.0 * self.node.wall_s()
        good = [
            r
            for r in records
            if r.key == job.key
            and job.author in (b"", r.author)
            and r.flaw(now_ms) is None
            and self._of_the_fleet(r)
        ]
        if len(good) < len(records):
            self.node.counts["bad_record"] += len(records) - len(good)
        job.found += good
        job.holders += bool(good)
