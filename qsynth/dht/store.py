"""What a node keeps of records: bounded, and of the keys that are nearest to it.  Sans-I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from qsynth.dht.record import Record, newer
from qsynth.types import NodeId

MOST_OF_A_KEY = 32  # authors
FIRST_S = 4.0
SHARE_OF_AUTHOR = 4  # one author fills no more than one over this of a store


@dataclass
class Kept:
    """Hold a record, when other holders last had word of it, and the pause until the next."""

    record: Record
    told_s: float
    pause_s: float


class RecordStore:
    """Keep signed records until they expire.

    most: records in all.  Beyond that the ones go whose keys are farthest from `me`: others are
    nearer to those.  pause_s: after which a record is due to be told again, in the end: it
    begins with `FIRST_S` and doubles, as a mesh that is still forming soon knows better who is
    near.
    """

    def __init__(self, me: NodeId, most: int, pause_s: float) -> None:
        self.pause_s = pause_s
        self._me = int.from_bytes(me, "big")
        self.most = most
        self._kept: dict[bytes, dict[bytes, Kept]] = {}  # by key, by author
        self._of_author: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return self._of_author.total()

    def put(self, record: Record, now_s: float) -> str | None:
        """Keep a record; return why not, or None where it, or a newer one, is kept now."""
        flaw = record.flaw(1000.0 * now_s)
        if flaw is not None:
            return flaw
        old = self._kept.get(record.key, {}).get(record.author)
        if old is not None:
            if newer(old.record, record):
                return "older"
            kept = self._kept[record.key][record.author]
            if record != kept.record:
                kept.record, kept.pause_s = record, FIRST_S
            kept.told_s = now_s
            return None
        refusal = self._room(record, now_s)
        if refusal is None:
            self._kept.setdefault(record.key, {})[record.author] = Kept(record, now_s, FIRST_S)
            self._of_author[record.author] += 1
        return refusal

    def get(self, key: bytes, now_s: float) -> list[Record]:
        """Return the records under a key that have not expired."""
        here = self._kept.get(key, {})
        return [kept.record for kept in here.values() if kept.record.expires_ms > 1000.0 * now_s]

    def every_key(self) -> list[bytes]:
        """Return the keys that something is kept under."""
        return list(self._kept)

    def every(self) -> list[Record]:
        """Return all records."""
        return [kept.record for here in self._kept.values() for kept in here.values()]

    def due(self, now_s: float, most: int) -> list[Record]:
        """Return records to be told again now, the longest ago first; they are not due at once."""
        every = [
            k for here in self._kept.values() for k in here.values()
            if k.told_s + k.pause_s <= now_s
        ]  # fmt: skip
        chosen = sorted(every, key=lambda k: k.told_s)[:most]
        for kept in chosen:
            kept.told_s, kept.pause_s = now_s, min(2.0 * kept.pause_s, self.pause_s)
        return [kept.record for kept in chosen]

    def expire(self, now_s: float) -> int:
        """Forget what has expired; return how many."""
        old = [
            k.record for here in self._kept.values() for k in here.values()
            if k.record.expires_ms <= 1000.0 * now_s
        ]  # fmt: skip
        for record in old:
            self.drop(record)
        return len(old)

    def drop(self, record: Record) -> None:
        """Forget a record."""
        here = self._kept.get(record.key, {})
        if here.pop(record.author, None) is not None:
            self._of_author[record.author] -= 1
        if not here:
            self._kept.pop(record.key, None)

    def _room(self, record: Record, now_s: float) -> str | None:
        if len(self) >= self.most:
            self.expire(now_s)
        if len(self._kept.get(record.key, ())) >= MOST_OF_A_KEY:
            return "key_full"
        if self._of_author[record.author] >= max(1, self.most // SHARE_OF_AUTHOR):
            return "author_full"
        if len(self) < self.most:
            return None
        farthest = max(self._kept, key=self._distance)
        if self._distance(record.key) >= self._distance(farthest):
            return "full"
        self.drop(next(iter(self._kept[farthest].values())).record)
        return None

    def _distance(self, key: bytes) -> int:
        return int.from_bytes(key, "big") ^ self._me
