"""The pynng transport: one Pair1 socket in its many-to-many mode, over ipc or tcp.

Every peer is a pipe of that one socket, whoever dialled; a message names its pipe.  A fork after
any socket was opened aborts the child: open it only in the process that uses it.

In that mode nng keeps two messages for a pipe and drops the third without a word.  So each pipe
has one frame under way until the other side has acknowledged it (usually on its answer), and
the rest wait here, in a queue whose overflow is counted, and go together into the next frame.
"""

from __future__ import annotations

import os
import select
import time
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field

import pynng

from qsynth.dht.contact import UNREACHABLE
from qsynth.errors import MeshError
from qsynth.mesh.address import check_ipc, host_of, scheme
from qsynth.mesh.connections import LOOK_S, Connections, allowed, place_of, remote_of
from qsynth.mesh.frames import (
    ACKNOWLEDGED,
    BUFFER_MESSAGES,
    DATA,
    FRAMING,
    MANY,
    messages_in,
    next_frame,
)
from qsynth.mesh.tcp import CONNECTIONS, CONNECTIONS_OF_HOST
from qsynth.mesh.tls import Tls, dialled, listened, peer_of

QUEUE_MESSAGES = 64  # kept for an address while its connection is being made
QUEUE_S = 10.0
DRAIN_MESSAGES = 256
MOST_CLOSED = 1024
MOST_MALFORMED = 32  # frames of one connection
DIAL_RETRY_MS = (50, 500)
ACKNOWLEDGE_S = 1.0  # without an acknowledgement the next message is sent all the same


@dataclass
class _Line:
    """One pipe: what waits to be sent, since when an acknowledgement is due, whether we owe one.

    at: the other side, as `host:port`.  dialled: by this node.
    """

    pipe: pynng.Pipe
    at: str
    dialled: bool
    waiting: deque[bytes] = field(default_factory=deque)
    sent_at: float | None = None
    owes: bool = False
    peer: bytes | None = None  # the id in its certificate; None without TLS
    malformed: int = 0


class PynngTransport:
    """Carry messages over pynng.

    listen: `ipc:///path`, `tcp://host:0` for a free port, or `tls+tcp://host:port`; empty where
    nobody could dial it.  max_bytes: of a message received.  tls: nothing is dialled without it.
    most, most_of_host: connections that others have made, in all and from one address.
    Raises MeshError where the address cannot be bound.
    """

    def __init__(
        self,
        listen: str,
        max_bytes: int,
        tls: Tls | None = None,
        most: int = CONNECTIONS,
        most_of_host: int = CONNECTIONS_OF_HOST,
    ) -> None:
        if listen.startswith("ipc://"):
            check_ipc(listen.removeprefix("ipc://"))
        self._shed: Counter[str] = Counter()
        self._most, self._tls = max_bytes, tls
        self._connections: Connections | None = None  # of who dials; ipc is of this machine alone
        self._closed: dict[int, None] = {}  # pipes, the last to close at the end
        self._lines: dict[int, _Line] = {}
        self._busy: set[int] = set()  # lines that wait, are waited for, or owe something
        self._dialled: OrderedDict[str, pynng.Dialer] = OrderedDict()  # last used, last
        self._most_dialled = max(1, allowed(most) // 2)
        self._pipe_of: dict[str, int] = {}
        self._queued: dict[str, deque[tuple[float, bytes]]] = {}
        self._arrived: deque[tuple[str, pynng.Pipe]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        for handle in (self._wake_read, self._wake_write):
            os.set_blocking(handle, False)
        self._socket = pynng.Pair1(
            polyamorous=True,
            recv_max_size=max_bytes + FRAMING,
            send_timeout=1000,
            recv_timeout=1000,
            recv_buffer_size=BUFFER_MESSAGES,
            send_buffer_size=BUFFER_MESSAGES,
            reconnect_time_min=DIAL_RETRY_MS[0],
            reconnect_time_max=DIAL_RETRY_MS[1],
        )
        self._socket.add_post_pipe_connect_cb(lambda pipe: self._notify("up", pipe))
        self._socket.add_post_pipe_remove_cb(lambda pipe: self._notify("down", pipe))
        try:
            if tls is not None:
                self._socket.tls_config = tls.server()
            if listen:
                self._socket.listen(listen)
        except pynng.NNGException as error:
            self.close()
            raise MeshError(f"{listen}: cannot be listened on ({error})") from None
        self._address = listen or UNREACHABLE
        if listen and not listen.startswith("ipc://"):
            port = str(self._socket.listeners[0].local_address).rsplit(":", 1)[1]
            self._address = f"{scheme(tls is not None)}{host_of(listen)}:{port}"
            self._connections = Connections(int(port), most, most_of_host)

    @property
    def address(self) -> str:
        """Return the address that others reach this node under."""
        return self._address

    @property
    def shed(self) -> dict[str, int]:
        """Return how many messages were not carried, by reason."""
        return dict(self._shed) | (dict(self._connections.shed) if self._connections else {})

    def send(self, address: str, payload: bytes) -> None:
        """Send over an open pipe, or dial and keep the message until there is one."""
        if address.startswith("pipe:"):
            self._send_pipe(int(address[len("pipe:") :]), payload)
            return
        if address in self._dialled:
            self._dialled.move_to_end(address)
        pipe = self._pipe_of.get(address)
        if pipe is not None and pipe in self._lines:
            self._send_pipe(pipe, payload)
            return
        queue = self._queued.setdefault(address, deque())
        if len(queue) >= QUEUE_MESSAGES:
            queue.popleft()
            self._shed["queue_full"] += 1
        queue.append((time.monotonic(), payload))
        if address not in self._dialled:
            self._dial(address)

    def _dial(self, address: str) -> None:
        if self._tls is not None and not address.startswith(scheme(True)):
            self._shed["unencrypted"] += len(self._queued.pop(address))
            return
        if address.startswith("ipc://") != self._address.startswith("ipc://"):
            # Peers tell addresses: who speaks tcp is not sent to a socket of this machine.
            self._shed["undialable"] += len(self._queued.pop(address))
            return
        try:
            if self._tls is None:
                self._dialled[address] = self._socket.dial(address, block=False)
            else:
                # Of the dialer alone: a setting of the socket would change earlier dialers too.
                config = self._tls.client(host_of(address))
                self._dialled[address] = dialled(self._socket, address, config)
        except pynng.NNGException:
            self._shed["undialable"] += len(self._queued.pop(address))
        while len(self._dialled) > self._most_dialled:  # peers tell addresses without end
            self._shed["dialled_long_ago"] += 1
            self.forget(next(iter(self._dialled)))

    def waiting(self, address: str) -> int:
        """Return how many messages for an address have not been sent yet."""
        line = self._lines.get(self._pipe_of.get(address, -1))
        return len(self._queued.get(address, ())) if line is None else len(line.waiting)

    def peer(self, address: str) -> bytes | None:
        """Return the id that a message's connection has proved; None without TLS."""
        if self._tls is None:
            return None
        _, _, number = address.partition("pipe:")
        line = self._lines.get(int(number)) if number.isdecimal() else None
        return b"" if line is None or line.peer is None else line.peer

    def receive(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Return messages with the address to answer each under; waits up to `timeout_s`."""
        self._take_pipes()
        if self._connections is not None:
            self._connections.sweep(time.monotonic(), (x.at for x in self._lines.values()))
        messages = self._drain()
        self._pump_all()
        if messages or timeout_s <= 0.0:
            return messages
        if self._connections is not None and self._connections.flooded:
            timeout_s = min(timeout_s, LOOK_S[0])
        select.select([self._socket.recv_fd, self._wake_read], [], [], timeout_s)
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        self._take_pipes()
        messages = self._drain()
        if not messages:
            self._pump_all()  # else after the caller has had its turn: answers acknowledge, too
        return messages

    def wake(self) -> None:
        """Make a waiting `receive` return; safe from another thread."""
        try:
            os.write(self._wake_write, b"w")
        except (BlockingIOError, OSError):
            pass  # a full pipe wakes as well as one more byte would

    def forget(self, address: str) -> None:
        """Close the connection to an address that does not answer, or that sends too much."""
        if address.startswith("pipe:"):
            line = self._lines.get(int(address[len("pipe:") :]))
            if line is not None:
                self._hang_up(line)
            return
        dialer = self._dialled.pop(address, None)
        if dialer is not None:
            dialer.close()
        self._pipe_of.pop(address, None)
        self._shed["unreachable"] += len(self._queued.pop(address, ()))

    def renew(self, tls: Tls) -> None:
        """Prove who this node is by other certificates: all connections are made again.

        Who is refused by them is refused from now on, whoever dialled.  Raises MeshError where the
        address cannot be listened on; it is to be called again, for nobody reaches the node.
        """
        config, self._tls = tls.server(), tls
        for listener in self._socket.listeners:
            listener.close()
        for address in list(self._dialled):
            self.forget(address)
        for line in list(self._lines.values()):
            self._hang_up(line)
        if self._address == UNREACHABLE:
            return
        try:
            listened(self._socket, self._address, config)
        except pynng.NNGException as error:
            raise MeshError(f"{self._address}: cannot be listened on ({error})") from None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        for handle in (self._wake_read, self._wake_write):
            with suppress(OSError):  # closed before
                os.close(handle)

    def _notify(self, what: str, pipe: pynng.Pipe) -> None:
        # On a thread of nng's: only hand over.
        self._arrived.append((what, pipe))
        self.wake()

    def _take_pipes(self) -> None:
        while self._arrived:
            what, pipe = self._arrived.popleft()
            if what == "down":
                line = self._lines.pop(pipe.id, None)
                self._shed["disconnected"] += len(line.waiting) if line else 0
                self._busy.discard(pipe.id)
                self._closed[pipe.id] = None
                if len(self._closed) > MOST_CLOSED:
                    del self._closed[next(iter(self._closed))]
                continue
            self._closed.pop(pipe.id, None)
            self._admit(self._line(pipe))
            for address, dialer in self._dialled.items():
                if _dialer_of(pipe) is dialer:
                    self._pipe_of[address] = pipe.id
                    self._flush(address, pipe.id)

    def _admit(self, line: _Line) -> None:
        """Hang up on whoever has connected while there is no room."""
        if self._connections is None or line.dialled:
            return
        others = [
            (place_of(other.at)[0], other.peer)
            for other in self._lines.values()
            if other is not line and not other.dialled
        ]
        full = self._connections.room(place_of(line.at)[0], line.peer, others)
        if full:
            self._shed[full] += 1
            self._hang_up(line)

    def _line(self, pipe: pynng.Pipe) -> _Line:
        line = self._lines.get(pipe.id)
        if line is None:
            proved = peer_of(pipe) if self._tls is not None else None
            line = self._lines[pipe.id] = _Line(
                pipe, remote_of(pipe), _dialer_of(pipe) is not None, peer=proved
            )
        return line

    def _blame(self, pipe: pynng.Pipe | None) -> None:
        """Hang up on who sends many frames that are none of ours."""
        line = None if pipe is None else self._lines.get(pipe.id)
        if line is not None:
            line.malformed += 1
            if line.malformed == MOST_MALFORMED:
                self._hang_up(line)

    def _hang_up(self, line: _Line) -> None:
        try:
            line.pipe.close()
        except pynng.NNGException:
            return  # closed before
        self._shed["hung_up"] += 1

    def _flush(self, address: str, pipe: int) -> None:
        now = time.monotonic()
        for queued_at, payload in self._queued.pop(address, ()):
            if now - queued_at <= QUEUE_S:
                self._send_pipe(pipe, payload)
            else:
                self._shed["stale"] += 1

    def _send_pipe(self, number: int, payload: bytes) -> None:
        line = self._lines.get(number)
        if line is None:
            self._shed["disconnected"] += 1
            return
        if len(line.waiting) >= BUFFER_MESSAGES:
            self._shed["queue_full"] += 1
            return
        line.waiting.append(payload)
        self._busy.add(number)
        self._pump(number, line, time.monotonic(), answer=True)

    def _pump_all(self) -> None:
        now = time.monotonic()
        for number in list(self._busy):
            self._pump(number, self._lines[number], now, answer=False)

    def _pump(self, number: int, line: _Line, now: float, answer: bool) -> None:
        """Send what a line may send now: the next message, or the acknowledgement it owes."""
        if line.sent_at is not None and now - line.sent_at > ACKNOWLEDGE_S:
            self._shed["unacknowledged"] += 1  # lost, or slow: requests have deadlines of their own
            line.sent_at = None
        if line.waiting and line.sent_at is None:
            self._transmit(line, *next_frame(line.waiting, self._most))
            line.sent_at = now
        elif line.owes and not answer:
            self._transmit(line, b"", 0)
        if not line.waiting and line.sent_at is None and not line.owes:
            self._busy.discard(number)

    def _transmit(self, line: _Line, payload: bytes, flags: int) -> None:
        flags |= ACKNOWLEDGED if line.owes else 0
        line.owes = False
        frame = bytes([flags]) + payload
        try:
            self._socket.send_msg(pynng.Message(frame, line.pipe), block=False)
        except pynng.TryAgain:
            self._shed["busy"] += 1
        except pynng.NNGException:
            self._shed["disconnected"] += 1

    def _drain(self) -> list[tuple[str, bytes]]:
        messages: list[tuple[str, bytes]] = []
        while len(messages) < DRAIN_MESSAGES:
            try:
                message = self._socket.recv_msg(block=False)
            except pynng.TryAgain:
                break
            pipe, frame = message.pipe, message.bytes
            came = None if pipe is None else messages_in(frame)
            if pipe is None or came is None:
                self._shed["malformed"] += 1
                self._blame(pipe)
                continue
            if pipe.id in self._closed:  # what it said last; with TLS nothing proves who it was
                self._shed["disconnected"] += self._tls is not None
                if self._tls is None:
                    messages += [(f"pipe:{pipe.id}", payload) for payload in came]
                continue
            line = self._line(pipe)
            if frame[0] & ACKNOWLEDGED:
                line.sent_at = None
            if frame[0] & DATA:
                line.owes = True
                messages += [(f"pipe:{pipe.id}", payload) for payload in came]
            self._busy.add(pipe.id)
            if frame[0] & MANY:  # more is waiting there: let it come while these are worked on
                self._pump(pipe.id, line, time.monotonic(), answer=False)
        return messages


def _dialer_of(pipe: pynng.Pipe) -> pynng.Dialer | None:
    try:
        return pipe.dialer
    except (TypeError, KeyError):
        return None  # accepted, not dialled; or by a dialer that is closed by now
