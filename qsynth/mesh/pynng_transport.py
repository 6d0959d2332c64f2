"""The pynng transport: one Pair1 socket in its many-to-many mode, over ipc or tcp.

Every peer is a pipe of that one socket, whoever dialled; a message names its pipe.  A fork after
any socket was opened aborts the child: open it only in the process that uses it.
"""

from __future__ import annotations

import os
import select
import time
from collections import Counter, deque

import pynng

from qsynth.errors import MeshError

MAX_IPC_PATH = 107  # sizeof(sun_path) - 1
QUEUE_MESSAGES = 64  # kept for an address while its connection is being made
QUEUE_S = 10.0
BUFFER_MESSAGES = 512
DRAIN_MESSAGES = 256
DIAL_RETRY_MS = (50, 500)


class PynngTransport:
    """Carry messages over pynng.

    listen: `ipc:///path`, or `tcp://host:0` for a free port.  max_bytes: of a message received.
    Raises MeshError where the address cannot be bound.
    """

    def __init__(self, listen: str, max_bytes: int) -> None:
        if listen.startswith("ipc://") and len(listen) - len("ipc://") > MAX_IPC_PATH:
            raise MeshError(f"{listen}: ipc paths have at most {MAX_IPC_PATH} bytes")
        self._shed: Counter[str] = Counter()
        self._pipes: dict[int, pynng.Pipe] = {}
        self._dialled: dict[str, pynng.Dialer] = {}
        self._pipe_of: dict[str, int] = {}
        self._queued: dict[str, deque[tuple[float, bytes]]] = {}
        self._arrived: deque[tuple[str, pynng.Pipe]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._socket = pynng.Pair1(
            polyamorous=True,
            recv_max_size=max_bytes,
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
            self._socket.listen(listen)
        except pynng.NNGException as error:
            self.close()
            raise MeshError(f"{listen}: cannot be listened on ({error})") from None
        self._address = listen
        if listen.startswith("tcp://"):
            host = listen[len("tcp://") :].rsplit(":", 1)[0]
            port = str(self._socket.listeners[0].local_address).rsplit(":", 1)[1]
            self._address = f"tcp://{host}:{port}"

    @property
    def address(self) -> str:
        """Return the address that others reach this node under."""
        return self._address

    @property
    def shed(self) -> dict[str, int]:
        """Return how many messages were not carried, by reason."""
        return dict(self._shed)

    def send(self, address: str, payload: bytes) -> None:
        """Send over an open pipe, or dial and keep the message until there is one."""
        if address.startswith("pipe:"):
            self._send_pipe(int(address[len("pipe:") :]), payload)
            return
        pipe = self._pipe_of.get(address)
        if pipe is not None and pipe in self._pipes:
            self._send_pipe(pipe, payload)
            return
        queue = self._queued.setdefault(address, deque())
        if len(queue) >= QUEUE_MESSAGES:
            queue.popleft()
            self._shed["queue_full"] += 1
        queue.append((time.monotonic(), payload))
        if address not in self._dialled:
            try:
                self._dialled[address] = self._socket.dial(address, block=False)
            except pynng.NNGException:
                self._shed["undialable"] += len(self._queued.pop(address))

    def receive(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Return messages with the address to answer each under; waits up to `timeout_s`."""
        self._take_pipes()
        messages = self._drain()
        if messages or timeout_s <= 0.0:
            return messages
        select.select([self._socket.recv_fd, self._wake_read], [], [], timeout_s)
        try:
            os.read(self._wake_read, 4096)
        except BlockingIOError:
            pass
        self._take_pipes()
        return self._drain()

    def wake(self) -> None:
        """Make a waiting `receive` return; safe from another thread."""
        try:
            os.write(self._wake_write, b"w")
        except (BlockingIOError, OSError):
            pass  # a full pipe wakes as well as one more byte would

    def forget(self, address: str) -> None:
        """Close the connection to an address that does not answer."""
        dialer = self._dialled.pop(address, None)
        if dialer is not None:
            dialer.close()
        self._pipe_of.pop(address, None)
        self._shed["unreachable"] += len(self._queued.pop(address, ()))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        for handle in (self._wake_read, self._wake_write):
            try:
                os.close(handle)
            except OSError:
                pass  # closed before

    def _notify(self, what: str, pipe: pynng.Pipe) -> None:
        # On a thread of nng's: only hand over.
        self._arrived.append((what, pipe))
        self.wake()

    def _take_pipes(self) -> None:
        while self._arrived:
            what, pipe = self._arrived.popleft()
            if what == "down":
                self._pipes.pop(pipe.id, None)
                continue
            self._pipes[pipe.id] = pipe
            for address, dialer in self._dialled.items():
                if _made_by(pipe, dialer):
                    self._pipe_of[address] = pipe.id
                    self._flush(address, pipe.id)

    def _flush(self, address: str, pipe: int) -> None:
        now = time.monotonic()
        for queued_at, payload in self._queued.pop(address, ()):
            if now - queued_at <= QUEUE_S:
                self._send_pipe(pipe, payload)
            else:
                self._shed["stale"] += 1

    def _send_pipe(self, number: int, payload: bytes) -> None:
        pipe = self._pipes.get(number)
        if pipe is None:
            self._shed["disconnected"] += 1
            return
        try:
            self._socket.send_msg(pynng.Message(payload, pipe), block=False)
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
            pipe = message.pipe
            if pipe is None:
                self._shed["disconnected"] += 1
                continue
            self._pipes.setdefault(pipe.id, pipe)
            messages.append((f"pipe:{pipe.id}", message.bytes))
        return messages


def _made_by(pipe: pynng.Pipe, dialer: pynng.Dialer) -> bool:
    try:
        return bool(pipe.dialer is dialer)
    except TypeError:
        return False  # accepted, not dialled
