from __future__ import annotations

import copy

import numpy as np
import pytest

from qsynth.dht import Contact, Lookup, Table, lookup_limits
from qsynth.dht.config import Rings
from qsynth.dht.table import shared_bits

D = 24
DEFAULT = Rings()


def contact(seed: int, fingerprint=None, version: int = 1) -> Contact:
    rng = np.random.default_rng([seed, 1])
    if fingerprint is None:
        fingerprint = rng.integers(-127, 128, D).astype(np.int8)
    return Contact(rng.bytes(32), f"memory:{seed}", fingerprint.tobytes(), version)


def clustered(count: int, seed: int = 0) -> list[Contact]:
    """Contacts in clusters of about ten."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(count // 10, 1), D))
    made = []
    for i in range(count):
        vector = centres[i % len(centres)] + 0.3 * rng.standard_normal(D)
        vector = np.rint(vector / np.linalg.norm(vector) * 127).astype(np.int8)
        made.append(contact(i, vector))
    return made


def true_alike(wanted, contacts, k):
    def score(c):
        v = c.vector().astype(float)
        return float(wanted @ v / (np.linalg.norm(wanted) * np.linalg.norm(v)))

    return [c.id for c in sorted(contacts, key=lambda c: -score(c))[:k]]


def table_of(me: Contact, others: list[Contact], config: Rings = DEFAULT) -> Table:
    table = Table(me.id, D, config)
    table.set_own(me.vector())
    for other in others:
        table.add(other)
    return table


def test_a_small_table_keeps_everyone_and_answers_truly() -> None:
    contacts = clustered(15)
    table = table_of(contacts[0], contacts[1:])
    assert len(table) == 14
    wanted = contacts[3].vector().astype(float)
    got = [c.id for c in table.alike(contacts[3].vector(), 5)]
    assert got == true_alike(wanted, contacts[1:], 5)
    target = contacts[7].id
    near = [c.id for c in table.nearest(target, 4)]
    order = sorted(
        (c.id for c in contacts[1:]),
        key=lambda i: int.from_bytes(i, "big") ^ int.from_bytes(target, "big"),
    )
    assert near == order[:4]


def test_a_table_stays_bounded_and_the_near_set_is_the_true_one() -> None:
    contacts = clustered(600)
    config = Rings(strategy="rings", bucket_size=4)
    table = table_of(contacts[0], contacts[1:], config)
    assert len(table) < 120
    near = true_alike(contacts[0].vector().astype(float), contacts[1:], config.near_size)
    assert len(set(near) & set(table.contacts)) >= config.near_size - 3  # less who is like all


def test_news_replaces_and_old_news_does_not() -> None:
    me, other = contact(0), contact(1)
    table = table_of(me, [other])
    newer = Contact(other.id, "memory:new", other.fingerprint, 5)
    assert table.add(newer)
    table.add(Contact(other.id, "memory:old", other.fingerprint, 2))
    assert table.contacts[other.id].address == "memory:new"
    assert not table.add(Contact(me.id, "x", other.fingerprint, 9))
    table.remove(other.id)
    assert len(table) == 0
    assert table.alike(me.vector(), 3) == []
    assert table.nearest(me.id, 3) == []


def test_a_new_own_fingerprint_puts_everyone_in_place_again() -> None:
    contacts = clustered(300)
    table = table_of(contacts[0], contacts[1:], Rings(strategy="rings", bucket_size=4))
    before = len(table)
    table.set_own(contacts[5].vector())
    assert 0 < len(table) <= before


def test_many_equal_fingerprints_make_no_hub() -> None:
    same = np.arange(1, D + 1, dtype=np.int8)
    contacts = [contact(i, same) for i in range(200)]
    tables = [table_of(c, contacts, Rings(strategy="rings", bucket_size=4)) for c in contacts[:60]]
    degree = {c.id: sum(c.id in t.contacts for t in tables) for c in contacts}
    assert max(degree.values()) <= 60
    assert all(len(t) >= 10 for t in tables)


def test_shared_bits() -> None:
    assert shared_bits(b"\0" * 32, b"\0" * 32) == 256
    assert shared_bits(b"\0" * 32, b"\x80" + b"\0" * 31) == 0
    assert shared_bits(b"\x0f" + b"\0" * 31, b"\x0e" + b"\0" * 31) == 7


def run_lookup(tables, me, target, k, config, dead=frozenset()):
    """The caller's side of a lookup, in the simplest way."""
    start = (
        tables[me].nearest(target, config.ef)
        if isinstance(target, bytes)
        else tables[me].alike(target, config.ef)
    )
    lookup = Lookup(target, k, me, start, lookup_limits(config, k, len(tables)))
    while not lookup.done:
        for asked in lookup.next():
            if asked.id in dead:
                lookup.failed(asked.id)
            elif isinstance(target, bytes):
                lookup.answered(asked.id, tables[asked.id].nearest(target, config.reply_contacts))
            else:
                lookup.answered(asked.id, tables[asked.id].alike(target, config.reply_contacts))
    return lookup.result()


@pytest.fixture(scope="module")
def world():
    contacts = clustered(300, seed=4)
    config = Rings(strategy="rings", bucket_size=20)
    rng = np.random.default_rng(5)
    tables = {}
    for me in contacts:
        known = [contacts[i] for i in rng.choice(300, size=150, replace=False)]
        tables[me.id] = table_of(me, known, config)
    return contacts, tables, config


def test_a_semantic_lookup_finds_the_true_most_alike(world) -> None:
    contacts, tables, config = world
    hits = total = 0
    for me in contacts[:40]:
        others = [c for c in contacts if c.id != me.id]
        true = set(true_alike(me.vector().astype(float), others, 5))
        result = run_lookup(tables, me.id, me.vector(), 5, config)
        assert result.rpcs <= config.lookup_rpcs
        assert result.rounds <= result.rpcs
        hits += len(true & {c.id for c in result.contacts})
        total += 5
    assert hits / total >= 0.97


def test_an_exact_lookup_finds_every_id(world) -> None:
    contacts, tables, config = world
    for me, other in zip(contacts[:40], contacts[40:80], strict=True):
        result = run_lookup(tables, me.id, other.id, 1, config)
        assert result.contacts[0].id == other.id


def test_the_dead_are_not_in_the_answer(world) -> None:
    contacts, tables, config = world
    dead = frozenset(c.id for c in contacts[::3])
    for me in contacts[1:20:3]:
        result = run_lookup(tables, me.id, me.vector(), 5, config, dead)
        assert not dead & {c.id for c in result.contacts}


def test_a_lookup_from_nothing_ends_at_once_and_a_budget_is_kept(world) -> None:
    contacts, tables, _ = world
    empty = Lookup(contacts[0].vector(), 3, contacts[0].id, [], lookup_limits(Rings(), 3, 9))
    assert empty.done
    assert empty.next() == []
    assert empty.result().contacts == ()
    tight = Rings(strategy="rings", lookup_rpcs=4)
    assert run_lookup(tables, contacts[0].id, contacts[0].vector(), 5, tight).rpcs <= 4


def cosine(wanted, other):
    print_ = other.vector().astype(float)
    return float(print_ @ wanted / np.linalg.norm(print_) / np.linalg.norm(wanted))


def test_a_lookup_that_ends_in_the_wrong_cluster_begins_anew_elsewhere() -> None:
    rng = np.random.default_rng(8)
    wanted, trap = 60 * np.eye(D)[0], 60 * np.eye(D)[1]

    def near(centre, group, i):
        print_ = np.clip(centre + 4 * rng.standard_normal(D), -127, 127).astype(np.int8)
        return Contact(bytes([group << 6]) + rng.bytes(31), f"ipc:///{i}", print_.tobytes(), 1)

    right = [near(wanted, 0, i) for i in range(6)]
    wrong = [near(trap + 0.3 * wanted, 1, i) for i in range(30)]
    bridge = near(-wanted, 2, 99)  # unlike what is wanted, it alone knows the right ones
    links = {c.id: [bridge, *wrong] for c in wrong} | {c.id: right for c in [bridge, *right]}
    for again in (0, 1):
        config = Rings(strategy="rings", second_starts=again, patience=2, ef_max=12)
        limits = lookup_limits(config, 5, 1000.0)
        lookup = Lookup(wanted.astype(np.int8), 5, b"me" * 16, wrong[:1], limits)
        best = -1.0
        while not lookup.done:
            for asked in lookup.next():
                lookup.answered(asked.id, links[asked.id])
                # Cut short at any moment, it tells what either start has found.
                cut = copy.deepcopy(lookup).result().contacts
                now = sum(cosine(wanted, c) for c in cut)
                assert now >= best - 1e-9
                best = now
        found = {c.id for c in lookup.result().contacts}
        assert (found <= {c.id for c in right}) == bool(again)
        assert lookup.rpcs <= config.lookup_rpcs


def test_a_contact_is_checked() -> None:
    good = contact(1)
    assert good.valid(D)
    assert not good.valid(D + 1)
    assert not Contact(b"short", "a", good.fingerprint, 1).valid(D)
    for address in ("pipe:7", "pipe:x", "file:///etc", "http://x"):
        assert not Contact(good.id, address, good.fingerprint, 1).valid(D)
    assert not Contact(good.id, "", good.fingerprint, 1).valid(D)
    assert not Contact(good.id, "a" * 1000, good.fingerprint, 1).valid(D)
    assert not Contact(good.id, "a", good.fingerprint, -1).valid(D)
