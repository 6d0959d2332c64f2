"""What a node keeps of records: bounded, and of the keys that are nearest to it.  Sans-I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from qsynth.dht.lookup import xor_distance
from qsynth.dht.record import Record, newer
from qsynth.identity.keys import node_id
from qsynth.types import NodeId

MOST_OF_A_KEY = 32  # authors
FIRST_S = 4.0
SHARE_OF_AUTHOR = 4  # one author fills no more than one over this of a store
SHARE_OF_STORER = 4  # who has stored more than one over this makes room for others


@dataclass
class Kept:
    """Hold a record, who stored it, when holders last had word of it, and the pause until next."""

    record: Record
    told_s: float
    pause_s: float
    storer: bytes


class RecordStore:
    """Keep signed records until they expire.

    most: records in all.  Beyond that those go of whoever has stored the most, if that is more
    than its share, else the ones whose keys are farthest from `me`: others are nearer to those.
    Under a key likewise: nobody can fill it, and keep others out, through one connection.
    pause_s: after which a record is due to be told again, in the end: it
    begins with `FIRST_S` and doubles, as a mesh that is still forming soon knows better who is
    near.
    """

    def __init__(self, me: NodeId, most: int, pause_s: float) -> None:
        self.pause_s = pause_s
        self.me, self.most = me, most
        self._kept: dict[bytes, dict[bytes, Kept]] = {}  # by key, by author
        self._of_author: Counter[bytes] = Counter()
        self._count = 0
        # Of records that were replaced by some that expire before them: the newest sequence.
        self._passed: dict[tuple[bytes, bytes], tuple[int, int]] = {}

    def __len__(self) -> int:
        return self._count

    def put(self, record: Record, now_s: float, storer: bytes = b"") -> str | None:
        """Keep a record; return why not, or None where it, or a newer one, is kept now.

        storer: who asks for it, as far as that is proved; empty: the node itself.
        """
        flaw = record.flaw(1000.0 * now_s)
        if flaw is not None:
            return flaw
        passed = self._passed.get((record.key, record.author))
        if passed is not None and record.sequence < passed[0] and now_s * 1000.0 < passed[1]:
            return "older"
        old = self._kept.get(record.key, {}).get(record.author)
        if old is not None:
            if newer(old.record, record):
                return "older"
            if record != old.record:
                self._pass(old.record, record)
                old.record, old.pause_s = record, FIRST_S
            old.told_s = now_s
            return None
        refusal = self._room(record, now_s, storer)
        if refusal is None:
            kept = Kept(record, now_s, FIRST_S, storer)
            self._kept.setdefault(record.key, {})[record.author] = kept
            self._of_author[record.author] += 1
            self._count += 1
        return refusal

    def _pass(self, old: Record, new: Record) -> None:
        place = (new.key, new.author)
        until = max(old.expires_ms, self._passed.get(place, (0, 0))[1])
        if until > new.expires_ms:
            self._passed[place] = (new.sequence, until)
        while len(self._passed) > self.most:
            del self._passed[next(iter(self._passed))]

    def get(self, key: bytes, now_s: float) -> list[Record]:
        """Return the records under a key that have not expired."""
        here = self._kept.get(key, {})
        return [kept.record for kept in here.values() if kept.record.expires_ms > 1000.0 * now_s]

    def some_keys(self, most: int) -> list[bytes]:
        """Return keys that something is kept under, other ones each time."""
        keys = list(islice(self._kept, most))
        for key in keys:
            self._kept[key] = self._kept.pop(key)
        return keys

    def every(self) -> list[Record]:
        """Return all records."""
        return [kept.record for kept in self._all()]

    def _all(self) -> Iterator[Kept]:
        return (kept for here in self._kept.values() for kept in here.values())

    def due(self, now_s: float, most: int) -> list[Record]:
        """Return records to be told again now, the longest ago first; they are not due at once."""
        every = [kept for kept in self._all() if kept.told_s + kept.pause_s <= now_s]
        chosen = sorted(every, key=lambda k: k.told_s)[:most]
        for kept in chosen:
            kept.told_s, kept.pause_s = now_s, min(2.0 * kept.pause_s, self.pause_s)
        return [kept.record for kept in chosen]

    def expire(self, now_s: float) -> int:
        """Forget what has expired; return how many."""
        old = [record for record in self.every() if record.expires_ms <= 1000.0 * now_s]
        for record in old:
            self.drop(record)
        now_ms = 1000.0 * now_s
        self._passed = {p: v for p, v in self._passed.items() if v[1] > now_ms}
        return len(old)

    def refuse(self, author: NodeId) -> None:
        """Forget all of an author, by its id."""
        for record in self.every():
            if node_id(record.author) == author:
                self.drop(record)

    def drop(self, record: Record) -> None:
        """Forget a record; one that has taken its place stays."""
        here = self._kept.get(record.key, {})
        kept = here.get(record.author)
        if kept is None or kept.record != record:
            return
        del here[record.author]
        self._count -= 1
        self._of_author[record.author] -= 1
        if not self._of_author[record.author]:
            del self._of_author[record.author]
        if not here:
            del self._kept[record.key]

    def _room(self, record: Record, now_s: float, storer: bytes) -> str | None:
        if len(self) >= self.most:
            self.expire(now_s)
        if self._of_author[record.author] >= max(1, self.most // SHARE_OF_AUTHOR):
            return "author_full"
        here = list(self._kept.get(record.key, {}).values())
        if len(here) >= MOST_OF_A_KEY and not self._yield(here, storer, MOST_OF_A_KEY):
            return "key_full"
        if len(self) < self.most or self._yield(self._all(), storer, self.most):
            return None
        return self._nearer(record)

    def _yield(self, among: Iterable[Kept], storer: bytes, most: int) -> bool:
        """Make room for a storer's record at the cost of who has more than its share of them."""
        among = list(among)
        count = Counter(kept.storer for kept in among if kept.storer)
        top, held = next(iter(count.most_common(1)), (b"", 0))
        if held <= most // SHARE_OF_STORER or held <= count[storer] + 1:
            return False
        theirs = (kept for kept in among if kept.storer == top)
        far = max(theirs, key=lambda k: xor_distance(self.me, k.record.key))
        self.drop(far.record)
        return True

    def _nearer(self, record: Record) -> str | None:
        farthest = max(self._kept, key=partial(xor_distance, self.me))
        if xor_distance(self.me, record.key) >= xor_distance(self.me, farthest):
            return "full"
        self.drop(next(iter(self._kept[farthest].values())).record)
        return None
