"""Certificates of a node that runs: new ones are taken up, and their end is told in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qsynth.errors import MeshError, StateError
from qsynth.identity.certificates import CERTIFICATE, days_left, read_certificate
from qsynth.identity.vouchers import VOUCHER, VOUCHER_AUTHORITY, VOUCHER_REVOKED
from qsynth.mesh.tls import FILES, Tls

LOOK_S = 10.0  # between two looks at the folder
WARN_DAYS = (1.0, 7.0, 30.0)
DAY_S = 86400.0

Seen = tuple[tuple[int, int, int] | None, ...]  # of each file: inode, size, when it was written


class Renewal:
    """Watch the folder of a node's certificates.

    A set that is being copied, or does not go together, is not taken: the node goes on with what it
    has.  note: takes a record: `certificates` are taken up, `certificates_refused` and why, or
    `certificate_ends`, once for each of 30, 7 and 1 days.  wall: gives seconds since the epoch.
    """

    def __init__(
        self,
        tls: Tls,
        note: Callable[[list[dict[str, Any]]], None],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self._note, self._wall = tls.folder, note, wall
        self._ends_s = self._end_of_ones_own()
        self._seen, self._refused = _seen(tls.folder), ""
        self._look_at, self._warned = 0.0, math.inf

    def look(self, now: float) -> Tls | None:
        """Return new certificates, where there are some that can be used.  now: seconds."""
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_S
        seen = _seen(self.folder)
        made = self._read() if seen != self._seen or self._refused else None
        if made is not None and _seen(self.folder) != seen:
            return None  # somebody writes: at the next look
        self._seen = seen
        if made is not None:
            self._refused, self._warned, self._ends_s = "", math.inf, self._end_of_ones_own()
            self._note([{"event": "certificates", "days": self._days}])
        self._warn()
        return made

    def refuse(self, reason: str) -> None:
        """Note why certificates cannot be used; they are tried again at the next look."""
        if reason != self._refused:
            self._refused = reason
            self._note([{"event": "certificates_refused", "reason": reason}])

    def _read(self) -> Tls | None:
        try:
            if read_certificate(self.folder).days_left <= 0:
                raise StateError(f"{self.folder / CERTIFICATE}: has ended")
            made = Tls(self.folder)
            made.server()  # as connections will be proved
        except (StateError, MeshError) as error:
            self.refuse(str(error))
            return None
        return made

    @property
    def _days(self) -> float:
        """Return how many days what is in use holds still."""
        return (self._ends_s - self._wall()) / DAY_S

    def _end_of_ones_own(self) -> float:
        """Return when the certificate in the folder ends, seconds since the epoch."""
        left = days_left(self.folder)
        return math.inf if left is None else time.time() + DAY_S * left

    def _warn(self) -> None:
        near = next((days for days in WARN_DAYS if self._days <= days), math.inf)
        if near < self._warned:
            self._warned = near
            self._note([{"event": "certificate_ends", "days": self._days}])


def _seen(folder: Path) -> Seen:
    names = (*FILES, VOUCHER, VOUCHER_AUTHORITY, VOUCHER_REVOKED)
    return tuple(_stamp(folder / name) for name in names)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
