"""Table and record store against slow and obvious models, in any order of calls (Hypothesis)."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from qsynth.dht import Contact, Table
from qsynth.dht.config import Rings
from qsynth.dht.lookup import xor_distance
from qsynth.dht.record import Record, sign_record
from qsynth.dht.record_store import MOST_OF_A_KEY, SHARE_OF_AUTHOR, RecordStore
from qsynth.dht.table import shared_bits
from qsynth.identity import Identity
from qsynth.similarity import cosine

SIZE = 6
IDS = [np.random.default_rng([n, 1]).bytes(32) for n in range(24)]
ME = np.random.default_rng([99, 1]).bytes(32)


def contact(number: int, version: int, seed: int) -> Contact:
    prints = np.random.default_rng([seed, 5]).integers(-127, 128, SIZE).astype(np.int8)
    return Contact(IDS[number], f"memory:{number}", prints.tobytes(), version)


class Tables(RuleBasedStateMachine):
    """A full table is a dictionary; a narrow one holds some of it, each in a place."""

    def __init__(self) -> None:
        super().__init__()
        self.full = Table(ME, SIZE, Rings(strategy="full_view"))
        self.narrow = Table(
            ME, SIZE, Rings(strategy="rings", ring_size=2, near_size=2, bucket_size=1)
        )
        self.model: dict[bytes, Contact] = {}

    @rule(number=st.integers(0, 23), version=st.integers(0, 5), seed=st.integers(0, 9))
    def add(self, number: int, version: int, seed: int) -> None:
        told = contact(number, version, seed)
        known = self.model.get(told.id)
        assert self.full.add(told)
        self.narrow.add(told)
        if known is None or told.version >= known.version:
            self.model[told.id] = told

    @rule(number=st.integers(0, 23))
    def remove(self, number: int) -> None:
        self.full.remove(IDS[number])
        self.narrow.remove(IDS[number])
        self.model.pop(IDS[number], None)
        assert IDS[number] not in self.narrow.contacts

    @rule(seed=st.integers(0, 9))
    def change(self, seed: int) -> None:
        own = np.frombuffer(contact(0, 0, seed).fingerprint, np.int8)
        self.full.set_own(own)
        self.narrow.set_own(own)

    @rule()
    def myself(self) -> None:
        assert not self.full.add(Contact(ME, "memory:me", bytes(SIZE), 1))

    @rule(number=st.integers(0, 23), k=st.integers(1, 5))
    def nearest(self, number: int, k: int) -> None:
        found = [c.id for c in self.full.nearest(IDS[number], k)]
        assert found == sorted(self.model, key=lambda i: xor_distance(IDS[number], i))[:k]

    @rule(seed=st.integers(0, 9), m=st.integers(1, 5))
    def alike(self, seed: int, m: int) -> None:
        wanted = np.frombuffer(contact(0, 0, seed).fingerprint, np.int8)
        found = [cosine(wanted, c.vector()) for c in self.full.alike(wanted, m)]
        true = sorted((cosine(wanted, c.vector()) for c in self.model.values()), reverse=True)[:m]
        np.testing.assert_allclose(found, true, atol=1e-5)

    @invariant()
    def full_is_the_model(self) -> None:
        assert self.full.contacts == self.model

    @invariant()
    def narrow_is_a_part_of_it(self) -> None:
        """What it holds it holds right, within its bounds; buckets hold who belongs there."""
        held = self.narrow.contacts
        for node, kept in held.items():
            assert kept.id == node
            assert self.narrow.nearest(node, 1)[0].id == node
        for bits, bucket in self.narrow._buckets.items():
            assert len(bucket) <= 1
            assert all(node in held and shared_bits(ME, node) == bits for node in bucket)
        rows = [self.narrow._rows[node] for node in held]
        assert len(set(rows)) == len(held)
        assert not self.model or held


KEYS = [np.random.default_rng([n, 2]).bytes(32) for n in range(6)]
AUTHORS = [Identity.seeded("author", n) for n in range(4)]
MOST = 8


class Stores(RuleBasedStateMachine):
    """A store keeps the newest of each author and key, and no more than it may."""

    records = Bundle("records")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_700_000_000.0
        self.store = RecordStore(ME, MOST, 60.0)
        self.taken: dict[tuple[bytes, bytes], Record] = {}  # the newest that was ever taken

    @rule(
        target=records,
        author=st.integers(0, 3),
        key=st.integers(0, 5),
        older=st.integers(0, 3),
        ttl=st.integers(1, 300),
    )
    def made(self, author: int, key: int, older: int, ttl: int) -> Record:
        sequence = int(1000 * self.now) - older
        expires = int(1000 * (self.now + ttl))
        return sign_record(AUTHORS[author], KEYS[key], b"v", sequence, expires)

    @rule(record=records)
    def put(self, record: Record) -> None:
        place = record.key, record.author
        refusal = self.store.put(record, self.now)
        kept = {(r.key, r.author): r for r in self.store.every()}
        if refusal is None:
            assert kept[place] == record
            self.taken[place] = record
        elif refusal == "older":
            known = self.taken[place]
            assert known.sequence >= record.sequence
        else:
            assert refusal in ("expired", "full", "key_full", "author_full")
            assert kept.get(place) != record or refusal == "expired"

    @rule(seconds=st.floats(0.1, 120.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        self.store.expire(self.now)
        assert all(r.expires_ms > 1000.0 * self.now for r in self.store.every())

    @rule(record=records)
    def drop(self, record: Record) -> None:
        self.store.drop(record)
        assert record not in self.store.every()

    @rule(key=st.integers(0, 5))
    def get(self, key: int) -> None:
        found = self.store.get(KEYS[key], self.now)
        every = [r for r in self.store.every() if r.key == KEYS[key]]
        assert found == [r for r in every if r.expires_ms > 1000.0 * self.now]

    @rule(most=st.integers(1, 4))
    def due(self, most: int) -> None:
        told = self.store.due(self.now, most)
        assert len(told) <= most
        assert not {id(r) for r in told} & {id(r) for r in self.store.due(self.now, MOST)}

    @invariant()
    def bounded_and_counted(self) -> None:
        every = self.store.every()
        assert len(every) == len(self.store) <= MOST
        places = [(r.key, r.author) for r in every]
        assert len(set(places)) == len(places)
        for identity in AUTHORS:
            own = sum(r.author == identity.public_key for r in every)
            assert own <= MOST // SHARE_OF_AUTHOR
        for key in KEYS:
            assert sum(r.key == key for r in every) <= MOST_OF_A_KEY


TestTables = Tables.TestCase
TestStores = Stores.TestCase
TestTables.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestStores.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
