"""The record of one node: a line of JSON an event; read-only for everything else."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qsynth.mesh import Send

MOST_NEWS = 256  # records kept for who watches


class Recorder:
    """Append events to a file, and count messages by kind.

    path: None keeps nothing but the counts.  watched: whether `news` is asked for.  most_bytes: of
    the file, before it becomes `events.jsonl.1`, in the place of an older one; its counts go on.
    """

    def __init__(
        self, node: str, path: Path | None, watched: bool = False, most_bytes: int | None = None
    ) -> None:
        self.node = node
        self.messages: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self._news: deque[dict[str, Any]] = deque(maxlen=MOST_NEWS if watched else 0)
        self._lock = threading.Lock()
        if path is not None and path.exists():
            self.events.update(_events_of(path))  # of the lives before this one
        self._path, self._most = path, most_bytes
        self._file = path.open("a", encoding="utf-8", buffering=1) if path else None

    def __getstate__(self) -> dict[str, Any]:
        """Return counts, and how long the file is: what a snapshot of a simulation keeps."""
        kept = {k: v for k, v in vars(self).items() if k not in ("_lock", "_file")}
        if self._file is not None:
            self._file.flush()
            kept["_size"] = os.fstat(self._file.fileno()).st_size
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take counts; `reopen` gives the file."""
        vars(self).update(state)
        self._lock, self._file = threading.Lock(), None

    def reopen(self, path: Path) -> None:
        """Go on in a file: what came after the snapshot is cut off, to be written again."""
        os.truncate(path, vars(self).pop("_size"))
        self._path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, time_s: float, records: Sequence[dict[str, Any]]) -> None:
        """Append records with their time (seconds since the epoch, or virtual)."""
        with self._lock:
            for record in records:
                self.events[record["event"]] += 1
                self._news.append({"time": time_s, **record})
                if self._file is not None:
                    line = {"time": round(time_s, 6), "node": self.node, **record}
                    self._file.write(json.dumps(line) + "\n")
            if self._most is not None and self._file is not None:
                self._rotate(time_s)

    def _rotate(self, time_s: float) -> None:
        """Begin a new file where this one has grown too large."""
        assert self._file is not None
        assert self._path is not None
        assert self._most is not None
        if self._file.tell() < self._most:
            return
        self._file.close()
        os.replace(self._path, self._path.with_name(self._path.name + ".1"))
        self._file = self._path.open("a", encoding="utf-8", buffering=1)
        counts = {"event": "rotated", "counts": dict(self.events)}
        self._file.write(json.dumps({"time": time_s, "node": self.node, **counts}) + "\n")

    def news(self) -> list[dict[str, Any]]:
        """Return the newest records that have not been returned before."""
        with self._lock:
            new = list(self._news)
            self._news.clear()
        return new

    def count(self, send: Send) -> None:
        """Count a message that is sent."""
        self.messages[send.kind] += 1
        self.bytes[send.kind] += len(send.payload)

    def counted(self) -> dict[str, int]:
        """Return how often each event was recorded."""
        with self._lock:
            return dict(self.events)

    def traffic(self) -> dict[str, dict[str, int]]:
        """Return messages and bytes by kind."""
        messages = dict(self.messages)  # the mesh thread may add a kind meanwhile
        kinds = sorted(messages)
        return {k: {"messages": messages[k], "bytes": self.bytes[k]} for k in kinds}

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _events_of(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    for line in path.read_bytes().splitlines():
        try:
            event = json.loads(line)
            if event["event"] == "rotated":
                counts.update(event["counts"])
            else:
                counts[event["event"]] += 1
        except (ValueError, KeyError, TypeError):
            continue  # torn when its writer was killed
    return counts
