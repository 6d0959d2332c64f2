"""The ledger: each packet that has left a node, to which key, in a chain of hashes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qsynth.errors import StateError

NAME = "sent.jsonl"
FIRST = "0" * 64  # what the first line names as the one before it
KEYS = ("time", "to", "digest", "payload", "version", "bytes", "how", "previous")


class Ledger:
    """Append lines; each holds the hash of the one before, so none before the last can be changed.

    Lines cut off at the end are missed by who has noted the last hash, which `packet log` prints.

    A line is written before the packet leaves.  Raises StateError where that cannot be done, or
    where the file's chain is broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = read_ledger(path) if path.exists() else []
        self._last = lines[-1]["hash"] if lines else FIRST
        if path.exists():  # a line cut off when its writer was killed: nothing had left
            whole = path.read_bytes()
            if not whole.endswith(b"\n"):
                os.truncate(path, whole.rfind(b"\n") + 1)
        self._file = path.open("a", encoding="utf-8")

    def append(self, time_s: float, records: Iterable[dict[str, Any]]) -> None:
        """Write a line for each record of the event `sent`."""
        try:
            for record in records:
                line = {key: record[key] for key in KEYS if key in record}
                line |= {"time": round(time_s, 3), "previous": self._last}
                line["hash"] = line_hash(line)
                self._file.write(json.dumps(line, sort_keys=True) + "\n")
                self._last = line["hash"]
            self._file.flush()
        except OSError as error:
            raise StateError(f"{self.path}: cannot be written ({error})") from None

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def line_hash(line: dict[str, Any]) -> str:
    """Return the SHA-256 of a line without its own hash, keys sorted."""
    kept = {key: line[key] for key in KEYS if key in line}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def read_ledger(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a ledger, the oldest first.  Raises StateError where one was changed.

    A last line without its end is left out: it was cut off before anything had left.
    """
    previous, lines = FIRST, []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            line = json.loads(text)
            good = line["previous"] == previous and line["hash"] == line_hash(line)
        except (ValueError, KeyError, TypeError):
            good = False
        if not good:
            raise StateError(f"{path}:{number}: the chain is broken: a line was changed or taken")
        previous = line["hash"]
        lines.append(line)
    return lines
