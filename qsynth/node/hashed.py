"""The strategy `simhash` of a node: its contact under the hashes of its fingerprint, and lookups.

A contact is a record like any other: signed, kept by the nodes nearest to the hash, renewed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from qsynth.dht import Contact, LookupResult
from qsynth.dht.config import Rings
from qsynth.dht.record import Record
from qsynth.dht.simhash import simhash_keys
from qsynth.identity import node_id
from qsynth.node.effects import Effects
from qsynth.node.records import Records
from qsynth.similarity import cosine
from qsynth.types import Fingerprint, NodeId

TTL_S = 3600.0
RENEWED_S = TTL_S / 2

Then = Callable[[float, LookupResult, Effects], None]


class Hashed:
    """Publish one's own contact, and look others up, under hashes of fingerprints.

    gone: whether a node has not answered when it was asked.
    """

    def __init__(self, records: Records, dht: Rings, gone: Callable[[NodeId], bool]) -> None:
        self.records, self.dht, self.gone = records, dht, gone
        self._told: tuple[bytes, int] = (b"", 0)
        self._at_s = 0.0

    def publish(self, now: float, contact: Contact, wall_s: float, effects: Effects) -> None:
        """Store a contact under its hashes where it is new, or was stored long ago."""
        news = (contact.fingerprint, contact.version)
        if not any(contact.fingerprint):
            return
        if news == self._told and wall_s - self._at_s < RENEWED_S:
            return
        self._told, self._at_s = news, wall_s
        value = msgspec.msgpack.encode(contact)
        for key in simhash_keys(contact.vector(), self.dht, 1):
            self.records.store(now, key, value, TTL_S, effects)

    def look(self, now: float, wanted: Fingerprint, k: int, effects: Effects, then: Then) -> None:
        """Look under all hashes of a fingerprint, side by side; then call `then` once."""
        keys = simhash_keys(wanted, self.dht, self.dht.simhash_probes)
        met: dict[NodeId, Contact] = {}
        left, rpcs, rounds = len(keys), 0, 0

        def found(at: float, records: list[Record], took: LookupResult, after: Effects) -> None:
            nonlocal left, rpcs, rounds
            for record in records:
                contact = self._read(record)
                if contact is None or self.gone(contact.id):
                    continue
                known = met.get(contact.id)
                if known is None or known.version < contact.version:
                    met[contact.id] = contact
            left, rpcs, rounds = left - 1, rpcs + took.rpcs, max(rounds, took.rounds)
            if left == 0:
                best = sorted(met.values(), key=lambda c: -cosine(wanted, c.vector()))[:k]
                then(at, LookupResult(tuple(best), rpcs, rounds), after)

        for key in keys:
            self.records.get(now, key, effects, found)

    def _read(self, record: Record) -> Contact | None:
        """Return the contact in a record, if it is of whoever signed it."""
        try:
            contact = msgspec.msgpack.decode(record.value, type=Contact)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        own = contact.id == node_id(record.author) and self.records.node.others.valid(contact)
        return contact if own and contact.id != self.records.node.me else None
