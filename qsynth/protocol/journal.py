"""What a node remembers when it is killed: a snapshot, and a journal of what came after it.

Both files are frames of length, checksum and entry.  The snapshot is written beside itself and
put in place at once, so that a reader sees the old one or the new one.  The journal is written
before anything that it tells of is said to anyone: whatever was acknowledged is in it.  A frame cut
off at its end was never acknowledged, and is left out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from qsynth.dht import Contact
from qsynth.errors import StateError

FRAME = struct.Struct("<II")
MAX_FRAME = 1 << 20
LOCK_S = 1.0  # until a lock that is held is believed
JOURNAL_BYTES = 4 << 20  # beyond these the journal becomes a snapshot
MOST_JOURNAL_BYTES = 4 * JOURNAL_BYTES  # while no snapshot can be written
NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)
OWN, HELD, KEPT, DROPPED, RECORD, CONTACT = "own", "held", "kept", "dropped", "record", "contact"
BUDGET, WITHDRAWN, FORGOTTEN, COHORT = "budget", "withdrawn", "forgotten", "cohort"
KINDS = (OWN, HELD, KEPT, DROPPED, RECORD, CONTACT, BUDGET, WITHDRAWN, FORGOTTEN, COHORT)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Tell one thing that a node must not forget.

    own: a packet of one's own, and its sequence number.  held, kept: a packet and its author, to
    learn from or to keep for others.  dropped: an author no longer held.  record: a record to keep.
    contact: somebody known.  budget: bytes that may still be sent, and in `data` the time, 8 bytes
    of milliseconds since the epoch.  withdrawn: what an author has taken back.  forgotten: in
    `data` the id of an author that is never to be learned from again.  cohort: in `data` the sum of
    a cohort that the node has a part in.
    """

    kind: str
    data: bytes = b""
    author: Contact | None = None
    sequence: int = 0


class State:
    """Own the files of one node in a folder, alone.

    Raises StateError where another process has them, or where they cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = _locked(folder)
        self._journal = _opened(folder / "journal")

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self) -> list[Entry]:
        """Return all entries, the oldest first.  Raises StateError where a snapshot is corrupt."""
        snapshot = self.folder / "state"
        entries: list[Entry] = []
        if snapshot.exists():
            entries, good = _read(snapshot)
            if good != snapshot.stat().st_size:
                raise StateError(
                    f"{snapshot}: its checksum differs after {good} bytes; move it away to begin "
                    "anew with the same identity"
                )
        more, good = _read(self.folder / "journal")
        if good != self._journal.tell():
            self._journal.truncate(good)  # cut off while it was written: nobody was told of it
            self._journal.seek(good)
        return entries + more

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries that must not be forgotten.  Raises StateError, and leaves no half frame.

        They survive the death of the process at once, and that of the machine once it has
        written its caches.
        """
        before = self._journal.tell()
        try:
            self._journal.write(b"".join(map(_frame, entries)))
            self._journal.flush()
        except OSError as error:
            _undo(self._journal, before)
            raise StateError(f"{self.folder}/journal: cannot be written ({error})") from None

    @property
    def full(self) -> bool:
        """Return whether the journal is to become a snapshot."""
        return self._journal.tell() >= JOURNAL_BYTES

    def replace(self, entries: Sequence[Entry]) -> None:
        """Write a snapshot, and begin a new journal.

        Where the process may open no more files just now, the journal goes on instead.  Raises
        StateError.
        """
        snapshot, part = self.folder / "state", self.folder / "state.part"
        try:
            with open(part, "wb", opener=_private) as file:
                file.write(b"".join(map(_frame, entries)))
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, snapshot)
            # A crash here leaves entries in both: to read them twice changes nothing.
            self._journal.truncate(0)
            self._journal.seek(0)
        except OSError as error:
            if error.errno in NO_MORE_FILES and self._journal.tell() < MOST_JOURNAL_BYTES:
                return
            raise StateError(f"{snapshot}: cannot be written ({error})") from None

    def close(self) -> None:
        """Close the files, and let others have them."""
        self._journal.close()
        self._lock.close()


def _frame(entry: Entry) -> bytes:
    data = msgspec.msgpack.encode(entry)
    return FRAME.pack(len(data), zlib.crc32(data)) + data


def _read(path: Path) -> tuple[list[Entry], int]:
    """Return the entries of a file, and how many of its bytes they are."""
    try:
        return entries_in(path.read_bytes())
    except OSError as error:
        raise StateError(f"{path}: cannot be read ({error})") from None


def entries_in(data: bytes) -> tuple[list[Entry], int]:
    """Return the entries at the front of some bytes, and how many bytes they are."""
    entries, at = [], 0
    while at + FRAME.size <= len(data):
        size, checksum = FRAME.unpack_from(data, at)
        body = data[at + FRAME.size : at + FRAME.size + size]
        if size > MAX_FRAME or len(body) < size or zlib.crc32(body) != checksum:
            break
        try:
            entry = msgspec.msgpack.decode(body, type=Entry)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            break
        if entry.kind not in KINDS:
            break
        entries.append(entry)
        at += FRAME.size + size
    return entries, at


def _locked(folder: Path) -> IO[bytes]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / "lock", "ab", opener=_private)
    except OSError as error:
        raise StateError(f"{folder}: cannot be written ({error})") from None
    end = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() < end:
                time.sleep(0.02)  # somebody may only have asked whether it is in use
                continue
            lock.close()
            raise StateError(f"{folder}: another process is using it") from None
        except OSError as error:
            lock.close()
            raise StateError(f"{folder}: its files cannot be locked ({error.strerror})") from None
    return lock


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Own a folder alone.  Raises StateError where another process has it."""
    lock = _locked(folder)
    try:
        yield
    finally:
        lock.close()


def in_use(folder: Path) -> bool:
    """Return whether a process that is alive owns the files of a folder."""
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        return False  # no locks here: the node itself will say so
    return False


def _private(path: str, flags: int) -> int:
    """Open a file that its owner alone may read."""
    return os.open(path, flags, 0o600)


def _opened(path: Path) -> IO[bytes]:
    try:
        file = open(path, "r+b" if path.exists() else "w+b", opener=_private)
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error})") from None
    file.seek(0, os.SEEK_END)
    return file


def _undo(file: IO[bytes], size: int) -> None:
    try:
        file.truncate(size)
        file.seek(size)
    except OSError:
        pass  # the frame is incomplete: it will be left out when the journal is read
