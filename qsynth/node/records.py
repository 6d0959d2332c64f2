"""Records under a key: stored with the nodes nearest to it, and read from them.  Sans-I/O.

Source: Maymounkov & Mazieres 2002, sections 2.3 (store and find value) and 2.5 (republishing,
and handing over to newcomers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from qsynth.dht import Contact, Lookup, LookupResult, Table, exact_limits
from qsynth.dht.config import Rings
from qsynth.dht.record import Record, merge, sign_record
from qsynth.dht.store import RecordStore
from qsynth.identity import Identity
from qsynth.mesh import Answer
from qsynth.node import wire
from qsynth.node.effects import Effects, Errand
from qsynth.node.state import RECORD, Entry
from qsynth.types import NodeId

MOST_TOLD = 32 * 1024  # bytes of values in an answer
CHECK_S = 1.0
MOST_REPUBLISHED = 8  # records at a check
MOST_HANDED = 64  # records to a newcomer at once


class Keeper(Protocol):
    """What records need of a node."""

    me: NodeId
    identity: Identity
    table: Table
    dht: Rings
    counts: Counter[str]
    entries: list[Entry]

    def contact(self) -> Contact:
        """Return who the node is now."""

    def wall_s(self) -> float:
        """Return seconds since the epoch."""

    def ask(
        self, now: float, contact: Contact, kind: str, body: Any, effects: Effects,
        errand: Errand | None = None,
    ) -> bool:  # fmt: skip
        """Ask a contact; return whether the request was sent."""

    def heard(self, body: wire.Contacts | wire.Found) -> list[Contact]:
        """Take the contacts that a node has told of; return who is not dead."""


# Called once with the time, what was read, what finding it took, and what is to be done.
Then = Callable[[float, list[Record], LookupResult, Effects], None]


@dataclass
class Job:
    """Hold a store (of `record`) or a get under way.

    placing: the nodes nearest to the key are known, and are being asked to keep the record.
    keeping: who has said that it keeps it; waiting: who has not answered yet.  then: who wants to
    know, where it is not the user.
    """

    key: bytes
    lookup: Lookup
    began: float
    record: Record | None = None
    then: Then | None = None
    placing: bool = False
    found: list[Record] = field(default_factory=list)
    holders: int = 0
    keeping: set[NodeId] = field(default_factory=set)
    waiting: set[NodeId] = field(default_factory=set)


class Records:
    """Store and get records for the user; keep, tell and republish those of others.

    What came of a store or a get stands in `Effects.done` under the ticket that begun it: how
    many nodes keep the record, or the newest record of each author.
    """

    def __init__(self, node: Keeper) -> None:
        self.node = node
        self.kept = RecordStore(node.me, node.dht.max_records, node.dht.record_republish_s)
        self._jobs: dict[int, Job] = {}
        self._ticket = self._sequence = 0
        self._check_at = 0.0

    # -- for the user ----------------------------------------------------------------------

    def store(self, now: float, key: bytes, value: bytes, ttl_s: float, effects: Effects) -> int:
        """Begin to store a value of one's own; return its ticket.

        It replaces what one has stored under the key before.  Raises ValueError where the key has
        not 32 bytes, or the value too many.
        """
        now_ms = int(1000.0 * self.node.wall_s())
        self._sequence = max(self._sequence + 1, now_ms)
        expires = now_ms + int(1000.0 * ttl_s)
        record = sign_record(self.node.identity, key, value, self._sequence, expires)
        flaw = record.flaw(now_ms)
        if flaw is not None:
            raise ValueError(f"{flaw}: a ttl of {ttl_s:g} s")
        return self._begin(now, key, record, effects)

    def get(self, now: float, key: bytes, effects: Effects, then: Then | None = None) -> int:
        """Begin to read what is stored under a key; return its ticket."""
        return self._begin(now, key, None, effects, then)

    @property
    def wake_at(self) -> float | None:
        """Return when `timer` wants to be called."""
        return self._check_at if len(self.kept) else None

    def timer(self, now: float, effects: Effects) -> None:
        """Forget what has expired, and see that what is kept is kept by those who should."""
        if now < self._check_at:
            return
        self._check_at = now + CHECK_S
        now_s = self.node.wall_s()
        if expired := self.kept.expire(now_s):
            self.node.counts["record_expired"] += expired
        for record in self.kept.due(now_s, MOST_REPUBLISHED):
            self._begin(now, record.key, record, effects)

    # -- for peers -------------------------------------------------------------------------

    def keep(self, body: wire.Store) -> wire.Contacts | wire.Refusal:
        """Keep a record of another."""
        refusal = self.kept.put(body.record, self.node.wall_s())
        if refusal is not None:
            return wire.Refusal(f"record: {refusal}")
        self._remember(body.record)
        return wire.Contacts(self.node.contact(), self._near(body.record.key, body.contact.id))

    def tell(self, body: wire.Find) -> wire.Found | wire.Refusal:
        """Tell what is kept under a key, the newest first, and who else may know."""
        if len(body.key) != len(self.node.me):
            return wire.Refusal("malformed")
        told, size = [], 0
        for record in merge(self.kept.get(body.key, self.node.wall_s())):
            size += len(record.value) + len(record.signed())
            if size > MOST_TOLD:
                self.node.counts["record_untold"] += 1
                break
            told.append(record)
        near = self._near(body.key, body.contact.id)
        return wire.Found(self.node.contact(), near, told)

    def met(self, now: float, contact: Contact, effects: Effects) -> None:
        """Hand over to a contact that is new what it should keep, where no one else is to do so.

        Who is to: of all that one knows, the nearest to the key beside the newcomer.
        """
        handed = 0
        for key in self.kept.every_key():
            theirs = self._apart(contact.id, key)
            near = self._near(key, contact.id)
            if len(near) == self.node.dht.record_replicas and theirs > self._apart(
                near[-1].id, key
            ):
                continue
            if near and self._apart(near[0].id, key) < self._apart(self.node.me, key):
                continue
            for record in self.kept.get(key, self.node.wall_s()):
                body, handed = wire.Store(self.node.contact(), record), handed + 1
                if handed > MOST_HANDED:
                    return  # the rest when it is republished
                self.node.ask(now, contact, wire.STORE, body, effects)

    def _remember(self, record: Record) -> None:
        self.node.entries.append(Entry(RECORD, msgspec.msgpack.encode(record)))

    def _near(self, key: bytes, asker: NodeId) -> list[Contact]:
        return self.node.table.nearest(key, self.node.dht.record_replicas, [asker])

    # -- jobs ------------------------------------------------------------------------------

    def _begin(
        self, now: float, key: bytes, record: Record | None, effects: Effects,
        then: Then | None = None,
    ) -> int:  # fmt: skip
        replicas = self.node.dht.record_replicas
        limits = exact_limits(self.node.dht, replicas)
        start = self.node.table.nearest(key, replicas)
        self._ticket += 1
        ticket = self._ticket
        job = Job(key, Lookup(key, replicas, self.node.me, start, limits), now, record, then)
        self._jobs[ticket] = job
        own = self.kept.get(key, self.node.wall_s()) if record is None else []
        job.found, job.holders = list(own), int(bool(own))
        # Whoever keeps everyone need not look first: whom it asks to keep it are the nearest.
        job.placing = record is not None and not self.node.table.crowded
        self._advance(now, ticket, effects)
        return ticket

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

    def _ask(self, now: float, contact: Contact, ticket: int, job: Job, effects: Effects) -> bool:
        mine, errand = self.node.contact(), Errand(contact, None, ticket=ticket)
        if job.record is None:
            return self.node.ask(now, contact, wire.FIND, wire.Find(mine, job.key), effects, errand)
        if job.placing:
            body: Any = wire.Store(mine, job.record)
            return self.node.ask(now, contact, wire.STORE, body, effects, errand)
        body = wire.Search(mine, job.key, self.node.dht.record_replicas)
        return self.node.ask(now, contact, wire.NEAREST, body, effects, errand)

    def _end(self, now: float, ticket: int, job: Job, effects: Effects) -> None:
        del self._jobs[ticket]
        if job.then is not None:
            job.then(now, merge(job.found), job.lookup.result(), effects)
            return
        if job.record is None:
            effects.done.append((ticket, merge(job.found)))
            return
        now_s, nearest = self.node.wall_s(), job.lookup.result().contacts
        keeping = sum(contact.id in job.keeping for contact in nearest)
        mine = self._apart(self.node.me, job.key)
        if keeping < self.node.dht.record_replicas or mine < self._apart(nearest[-1].id, job.key):
            if self.kept.put(job.record, now_s) is None:
                self._remember(job.record)
                keeping += 1
        elif job.record.author != self.node.identity.public_key:
            self.kept.drop(job.record)  # enough others are nearer to it now
        effects.done.append((ticket, keeping))

    @staticmethod
    def _apart(node: NodeId, key: bytes) -> int:
        return int.from_bytes(node, "big") ^ int.from_bytes(key, "big")

    def answered(self, now: float, answer: Answer, errand: Errand, effects: Effects) -> None:
        """Take the answer of a node, also one that says no."""
        body: wire.Found | wire.Contacts | None
        if answer.kind == wire.FIND:
            body = wire.unpack(answer.body, wire.Found)
        else:
            body = wire.unpack(answer.body, wire.Contacts)
        if answer.refused or (body is not None and body.contact.id != answer.sender):
            body = None
        contacts = [] if body is None else self.node.heard(body)
        job = self._jobs.get(errand.ticket or 0)
        if job is None:
            return  # a get that had read enough
        if answer.kind == wire.STORE and body is not None:
            job.keeping.add(answer.sender)
        elif isinstance(body, wire.Found):
            self._read(body.records, job)
        self._returned(now, errand, job, contacts, effects)

    def failed(self, now: float, errand: Errand, effects: Effects) -> None:
        """Note that a node has not answered."""
        job = self._jobs.get(errand.ticket or 0)
        if job is not None:
            self._returned(now, errand, job, None, effects)

    def _returned(
        self, now: float, errand: Errand, job: Job, contacts: list[Contact] | None,
        effects: Effects,
    ) -> None:  # fmt: skip
        node = errand.contact.id
        if node in job.waiting:
            job.waiting.discard(node)
        elif contacts is None:
            job.lookup.failed(node)
        else:
            job.lookup.answered(node, contacts)
        self._advance(now, errand.ticket or 0, effects)

    def _read(self, records: list[Record], job: Job) -> None:
        now_ms = 1000.0 * self.node.wall_s()
        good = [r for r in records if r.key == job.key and r.flaw(now_ms) is None]
        if len(good) < len(records):
            self.node.counts["bad_record"] += len(records) - len(good)
        job.found += good
        job.holders += bool(good)
