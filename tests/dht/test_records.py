"""Records: what is signed, what is kept, what stands where holders differ."""

from __future__ import annotations

import msgspec
import pytest

from qsynth.dht.record import (
    LONGEST_MS,
    MAX_VALUE,
    SKEW_MS,
    Record,
    merge,
    newer,
    record_key,
    sign_record,
)
from qsynth.dht.record_store import MOST_OF_A_KEY, SHARE_OF_AUTHOR, RecordStore
from qsynth.identity import Identity

ME = bytes(32)
AUTHORS = [Identity.seeded("author", i) for i in range(40)]


def record(author=0, key=0, sequence=1, expires_ms=10_000, value=b"v") -> Record:
    return sign_record(AUTHORS[author], record_key(f"key {key}"), value, sequence, expires_ms)


def test_every_field_is_signed() -> None:
    good = record()
    assert good.flaw(0.0) is None
    for field, other in (
        ("key", record_key("other")),
        ("author", AUTHORS[1].public_key),
        ("sequence", 2),
        ("expires_ms", 10_001),
        ("value", b"w"),
        ("signature", bytes(64)),
    ):
        assert msgspec.structs.replace(good, **{field: other}).flaw(0.0) == "signature"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": b"short"}, "malformed"),
        ({"author": b""}, "malformed"),
        ({"signature": b"x"}, "malformed"),
        ({"sequence": -1}, "malformed"),
        ({"sequence": 2**63}, "malformed"),
        ({"expires_ms": -1}, "malformed"),
        ({"value": bytes(MAX_VALUE + 1)}, "size"),
        ({"expires_ms": 99}, "expired"),
        ({"expires_ms": LONGEST_MS + SKEW_MS + 101}, "ttl"),
        ({"sequence": SKEW_MS + 101}, "future"),
    ],
)
def test_what_is_out_of_range_is_refused_before_its_signature(change, reason) -> None:
    assert msgspec.structs.replace(record(), **change).flaw(100.0) == reason


def test_a_record_that_could_not_be_kept_is_not_made() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sign_record(AUTHORS[0], b"short", b"", 1, 1)
    with pytest.raises(ValueError, match=str(MAX_VALUE)):
        sign_record(AUTHORS[0], record_key("k"), bytes(MAX_VALUE + 1), 1, 1)


def test_rubbish_is_refused(rng) -> None:
    good = msgspec.msgpack.encode(record())
    for _ in range(300):
        data = bytearray(good)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        try:
            read = msgspec.msgpack.decode(bytes(data), type=Record)
        except (msgspec.MsgspecError, ValueError):
            continue
        assert bytes(data) == good or read == record() or read.flaw(0.0) is not None


def test_holders_that_differ_are_merged_alike_in_any_order(rng) -> None:
    every = [
        record(a, 0, s, e, v)
        for a in range(3)
        for s in (1, 2)
        for e in (5000, 6000)
        for v in (b"a", b"b")
    ]
    first = merge(every)
    assert [(r.sequence, r.expires_ms, r.value) for r in first] == [(2, 6000, b"b")] * 3
    for _ in range(5):
        assert merge([every[i] for i in rng.permutation(len(every))]) == first


class TwinStore:
    """The same store, the obvious way: a list."""

    def __init__(self, most: int) -> None:
        self.most, self.records = most, []
        self.passed: dict = {}

    def put(self, new: Record, now_s: float) -> bool:
        if new.flaw(1000 * now_s):
            return False
        sequence, until = self.passed.get((new.key, new.author), (0, 0))
        if new.sequence < sequence and 1000 * now_s < until:
            return False
        for old in self.records:
            if (old.key, old.author) == (new.key, new.author):
                if newer(old, new):
                    return False
                if max(old.expires_ms, until) > new.expires_ms and old != new:
                    self.passed[new.key, new.author] = new.sequence, max(old.expires_ms, until)
                self.records[self.records.index(old)] = new
                return True
        if len(self.records) >= self.most:
            self.expire(now_s)
        if sum(r.key == new.key for r in self.records) >= MOST_OF_A_KEY:
            return False
        of_author = sum(r.author == new.author for r in self.records)
        if of_author >= max(1, self.most // SHARE_OF_AUTHOR):
            return False
        if len(self.records) >= self.most:
            farthest = max(r.key for r in self.records)  # `ME` is zero: a key is its distance
            if new.key >= farthest:
                return False
            self.records.remove(next(r for r in self.records if r.key == farthest))
        self.records.append(new)
        return True

    def expire(self, now_s: float) -> None:
        self.records = [r for r in self.records if r.expires_ms > 1000 * now_s]


def test_the_store_keeps_what_its_twin_keeps(rng) -> None:
    store, twin = RecordStore(ME, 24, 60.0), TwinStore(24)
    for step in range(600):
        now_s = step / 100
        new = record(
            int(rng.integers(12)),
            int(rng.integers(16)),
            int(rng.integers(4)),
            int(rng.integers(2000, 9000)),
        )
        assert (store.put(new, now_s) is None) == twin.put(new, now_s)
        if step % 50 == 0:
            store.expire(now_s)
            twin.expire(now_s)
        kept = sorted(
            msgspec.msgpack.encode(r)
            for k in range(16)
            for r in store.get(record_key(f"key {k}"), 0.0)
        )
        assert kept == sorted(msgspec.msgpack.encode(r) for r in twin.records)
        assert len(store) == len(kept) <= 24


def test_an_older_record_does_not_come_back_when_the_newer_one_has_expired() -> None:
    store = RecordStore(ME, 8, 60.0)
    long, short = record(sequence=1, expires_ms=9000), record(sequence=2, expires_ms=4000)
    assert store.put(long, 1.0) is None
    assert store.put(short, 1.0) is None
    store.expire(5.0)
    assert len(store) == 0
    assert store.put(long, 5.0) == "older"
    assert store.put(record(sequence=3, expires_ms=6000), 5.0) is None


def test_nothing_is_left_of_authors_that_are_gone() -> None:
    store = RecordStore(ME, 100, 60.0)
    for author in range(40):
        store.put(record(author, author), 0.0)
    store.expire(11.0)
    assert len(store) == len(store._of_author) == len(store._kept) == len(store._passed) == 0


def test_one_key_and_one_author_fill_no_store() -> None:
    store = RecordStore(ME, 400, 60.0)
    refused = [store.put(record(author, key=0), 0.0) for author in range(40)]
    assert refused.count("key_full") == 40 - MOST_OF_A_KEY
    store = RecordStore(ME, 8, 12.0)
    assert [store.put(record(0, key), 0.0) for key in range(4)].count("author_full") == 2
    assert [store.put(record(a, 99 + a), 0.0) for a in range(1, 39)].count(None) >= 6
    assert len(store) == 8


def test_what_was_told_long_ago_is_due_again_ever_later() -> None:
    store = RecordStore(ME, 8, 12.0)
    one, other = record(0, 0, expires_ms=90_000), record(0, 1, expires_ms=90_000)
    store.put(one, 1.0)
    store.put(other, 2.0)
    assert store.due(4.9, 9) == []
    assert store.due(6.0, 1) == [one]  # the longest ago
    assert store.due(6.0, 9) == [other]
    assert store.due(13.9, 9) == []
    assert store.due(14.0, 9) == [one, other]
    assert store.due(25.9, 9) == []
    store.put(one, 25.9)  # another holder has told of it
    assert store.due(26.0, 9) == [other]
    assert store.get(one.key, 91.0) == []  # expired, and not yet forgotten
    assert store.expire(91.0) == 2
    assert len(store) == 0
