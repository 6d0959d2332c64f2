"""Who is connected: bounded in all, for a host and for an identity, before and after a handshake.

nng accepts whoever dials and waits for as long as they say nothing, so 5,000 bare connections
take 5,000 descriptors and 30 KiB each.  What has not finished its handshake is found among the
process's own descriptors, and the oldest of it is shut: nng then closes it.
"""

from __future__ import annotations

import os
import resource
import socket
import stat
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pynng

from qsynth.process_memory import release_now_and_then

DESCRIPTORS = 65536  # as many as a process raises its own limit to, where it may
SPARE = 256  # descriptors that connections leave to files, libraries and training
MOST_BARE = 32  # connections that have not finished their handshake
MOST_OF_PEER = 8  # connections of one certificate
LOOK_S = (0.02, 1.0)  # between two looks: in a flood, and in quiet times
LOOK_SHARE = 0.2  # of the time that looks may take, in a flood
FOLDERS = ("/proc/self/fd", "/dev/fd")

Place = tuple[str, int]  # host and port of the other side


def raise_limit() -> int:
    """Let this process open more files, as many as it may; return how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft
    return wanted


def allowed(most: int) -> int:
    """Return how many of so many connections this process has descriptors for."""
    return max(1, min(most, raise_limit() - SPARE))


@dataclass
class _Seen:
    """Hold what the descriptors of this process showed last."""

    at: float = 0.0
    places: dict[int, dict[Place, int]] | None = None  # by own port: whom, over which descriptor


_seen = _Seen()
_lock = threading.Lock()


class Connections:
    """Bound the connections to one listening port.

    most: in all.  most_of_host: from one address.
    """

    def __init__(self, port: int, most: int, most_of_host: int) -> None:
        self.port, self.most_of_host = port, most_of_host
        self.most = allowed(most)
        self.shed: Counter[str] = Counter()
        self._since: dict[Place, float] = {}  # of connections that have not spoken
        self._again = 0.0
        self.flooded = False

    def room(
        self, host: str, peer: bytes | None, others: Sequence[tuple[str, bytes | None]]
    ) -> str:
        """Return why one more connection is not taken; empty where it is.

        peer: the id in its certificate.  others: host and id of those there are.
        """
        if len(others) >= self.most:
            return "connections"
        if sum(other == host for other, _ in others) >= self.most_of_host:
            return "connections_of_host"
        if peer and sum(other == peer for _, other in others) >= MOST_OF_PEER:
            return "connections_of_peer"
        return ""

    def sweep(self, now: float, finished: Iterable[str]) -> None:
        """Shut the oldest connections that have not finished their handshake, beyond so many.

        now: seconds.  finished: addresses, as `host:port`, of those that have.
        """
        if now < self._again:
            return
        began = time.perf_counter()
        places = _look(now).get(self.port, {})
        took = time.perf_counter() - began
        known = {place_of(address) for address in finished}
        bare = [place for place in places if place not in known]
        self._since = {place: self._since.get(place, now) for place in bare}
        self.flooded = len(bare) > MOST_BARE // 2
        self._again = now + max(LOOK_S[not self.flooded], took / LOOK_SHARE)
        many = Counter(host for host, _ in bare)
        # Of whoever has the most first: an honest newcomer is one of few.
        bare.sort(key=lambda p: (-min(many[p[0]], MOST_BARE // 2), self._since[p]))
        for place in bare[: max(0, len(bare) - MOST_BARE)]:
            if _shut(places[place], self.port, place):
                self.shed["bare_connection"] += 1
        if self.flooded:
            release_now_and_then()  # what thousands of handshakes have begun with


def remote_of(pipe: pynng.Pipe) -> str:
    """Return the other side of a pipe, as `host:port`; empty where it is closed already."""
    try:
        return str(pipe.remote_address)
    except pynng.NNGException:
        return ""


def place_of(address: str) -> Place:
    """Return host and port of an address; the port is 0 where it has none."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    return host.strip("[]").removeprefix("::ffff:"), int(port) if port.isdecimal() else 0


def _look(now: float) -> dict[int, dict[Place, int]]:
    """Return who is connected to this process's ports: one look serves all its nodes."""
    with _lock:
        if _seen.places is None or now - _seen.at >= LOOK_S[0]:
            found: dict[int, dict[Place, int]] = {}
            for descriptor, port, place in _accepted():
                found.setdefault(port, {})[place] = descriptor
            _seen.at, _seen.places = now, found
        return _seen.places


def _accepted() -> Iterator[tuple[int, int, Place]]:
    folder = next((f for f in FOLDERS if os.path.isdir(f)), None)
    for name in os.listdir(folder) if folder else ():
        found = _ends(int(name)) if name.isdecimal() else None
        if found is not None:
            yield int(name), *found


def _ends(descriptor: int) -> tuple[int, Place] | None:
    """Return the own port and the other side of a descriptor; None where it is no connection."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        borrowed = socket.socket(fileno=descriptor)  # no copy: there may be thousands
    except OSError:
        return None  # closed by now
    try:
        if borrowed.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        host, port = borrowed.getpeername()[:2]
        return int(borrowed.getsockname()[1]), (str(host).removeprefix("::ffff:"), int(port))
    except OSError:
        return None  # a listener, or closed by now
    finally:
        borrowed.detach()


def _shut(descriptor: int, port: int, place: Place) -> bool:
    """End a connection; its descriptor may be another's by now."""
    if _ends(descriptor) != (port, place):
        return False
    try:
        with _copied(descriptor) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except OSError:
        return False
    return True


def _copied(descriptor: int) -> socket.socket:
    """Return a socket of one's own beside that of a descriptor.  Raises OSError."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        raise OSError("is no socket")
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
