"""Certificates of a node that runs: new ones are taken up, and their end is told in time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from qsynth.errors import StateError
from qsynth.identity.certificates import CERTIFICATE, first_end, read_certificate
from qsynth.mesh.tls import Tls

LOOK_S = 10.0  # between two looks at the folder
WARN_DAYS = (1.0, 7.0, 30.0)
DAY_S = 86400.0


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
        self.folder, self._tls, self._note, self._wall = tls.folder, tls, note, wall
        self._seen, self._refused = tls.seen, ""
        self._look_at, self._warned = 0.0, math.inf
        self._first, self._ends_s = self._first_end()

    def look(self, now: float) -> Tls | None:
        """Return new certificates, where there are some that can be used.  now: seconds."""
        if now < self._look_at:
            return None
        self._look_at = now + LOOK_S
        seen = self._tls.look()
        made = self._read() if seen != self._seen or self._refused else None
        if made is not None and made.look() != seen:
            return None  # somebody writes: at the next look
        self._seen = seen
        self._warn()
        return made

    def taken(self, tls: Tls) -> None:
        """Note that connections are proved by these now."""
        self._tls, self._refused, self._warned = tls, "", math.inf
        self._first, self._ends_s = self._first_end()
        self._note([{"event": "certificates", "days": self.days}])
        self._warn()

    def refuse(self, reason: str) -> None:
        """Note why certificates cannot be used; they are tried again at the next look."""
        if reason != self._refused:
            self._refused = reason
            self._note([{"event": "certificates_refused", "reason": reason}])

    def _read(self) -> Tls | None:
        try:
            read = read_certificate(self.folder)
            if read.days_left <= 0:
                raise StateError(f"{self.folder / CERTIFICATE}: has ended")
            if read.node != self._tls.vouchers.node:
                raise StateError(f"{self.folder / CERTIFICATE}: is of another node")
            made = Tls(self.folder, self._tls.kept)
            made.check_lists()
            made.server()  # as connections will be proved
        except Exception as error:  # of damaged files the library raises whatever it likes
            self.refuse(str(error))
            return None
        return made

    @property
    def days(self) -> float:
        """Return how many days what is in use holds still: whatever of it ends first."""
        return (self._ends_s - self._wall()) / DAY_S

    def _first_end(self) -> tuple[str, float]:
        """Return which file of what is in use ends first, and when, seconds since the epoch."""
        found = first_end(self.folder)
        return ("", math.inf) if found is None else (found[0], time.time() + DAY_S * found[1])

    def _warn(self) -> None:
        near = next((days for days in WARN_DAYS if self.days <= days), math.inf)
        if near < self._warned:
            self._warned = near
            self._note([{"event": "certificate_ends", "days": self.days, "what": self._first}])
