"""Messages of one pair of nodes against the bare socket, and how fast bad packets are refused.

Side by side in one run: the same number of messages of 4 KiB between two processes over TCP, by
bare pynng and by everything a message passes here (envelope, transport, rate, envelope again), then
with signed packets, then over TLS.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pynng

from qsynth.errors import PacketError, RunError
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.mesh.pressure import Buckets
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.rpc import Request, Rpc
from qsynth.mesh.tcp import Tcp
from qsynth.mesh.tls import Tls
from qsynth.packet import OutcomePacket, decode_packet, encode_packet

SIZE = 4096
WARM, ROUNDS = 500, 3
PATIENCE_S = 60.0
WINDOW = 32  # messages that wait when the sender adds as many: what is kept for a new connection
HOST = "127.0.0.1"


def measure(messages: int) -> dict[str, float]:
    """Return messages a second by each path, their ratio to the bare socket's, and refusals.

    The ratios are medians over rounds, in each of which every path takes its turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: (name, messages, folder) for name in ("raw", "path", "signed", "tls")}
        authority = Authority.init(Path(folder) / "authority")
        for number in (0, 1):
            identity = Identity.seeded("bench", number)
            authority.issue(identity.id, [HOST], 1.0, Path(folder) / str(number))
        rates: dict[str, list[float]] = {name: [] for name in paths}
        for _ in range(ROUNDS):
            for name, job in paths.items():
                rates[name].append(_pair(*job))
    made = {f"{name}_per_s": statistics.median(values) for name, values in rates.items()}
    for name in ("path", "signed", "tls"):
        ratios = [one / raw for one, raw in zip(rates[name], rates["raw"], strict=True)]
        key = "throughput_ratio" if name == "path" else f"{name}_ratio"
        made[key] = statistics.median(ratios)
    return made | refusals()


def _pair(name: str, messages: int, folder: str) -> float:
    """Return messages a second from a process to this one."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    sending = context.Process(
        target=_send_raw if name == "raw" else _send, args=(there, name, messages, folder)
    )
    receive = _receive_raw if name == "raw" else _receive
    try:
        return receive(here, sending, name, messages, folder)
    finally:
        if sending.pid is not None:
            sending.join(5.0)
            if sending.is_alive():
                sending.kill()
                sending.join()


def _receive_raw(pipe: Any, sending: Any, _name: str, messages: int, _folder: str) -> float:
    with pynng.Pair1(polyamorous=True, recv_timeout=int(1000 * PATIENCE_S)) as socket:
        socket.recv_buffer_size = 512
        socket.listen(f"tcp://{HOST}:0")
        port = str(socket.listeners[0].local_address).rsplit(":", 1)[1]
        sending.start()
        pipe.send(f"tcp://{HOST}:{port}")
        for _ in range(WARM):
            socket.recv_msg()
        began = time.perf_counter()
        for _ in range(messages):
            socket.recv_msg()
        took = time.perf_counter() - began
        pipe.send("enough")
    return messages / took


def _send_raw(pipe: Any, _name: str, messages: int, _folder: str) -> None:
    # Blocking sends: nng itself waits for room, which is as fast as the bare socket gets.
    with pynng.Pair1(send_timeout=int(1000 * PATIENCE_S)) as socket:
        socket.dial(pipe.recv(), block=True)
        body = b"x" * SIZE
        for _ in range(WARM + messages):
            socket.send(body)
        pipe.recv()


def _transport(name: str, number: int, folder: str) -> PynngTransport:
    tls = Tls(Path(folder) / str(number)) if name == "tls" else None
    return PynngTransport(f"{'tls+' if tls else ''}tcp://{HOST}:0", Tcp().max_message_bytes, tls)


def _receive(pipe: Any, sending: Any, name: str, messages: int, folder: str) -> float:
    transport = _transport(name, 0, folder)
    rpc = Rpc(Identity.seeded("bench", 0).id, Tcp(), 0)
    buckets, got, began = Buckets(1e9), 0, 0.0
    sending.start()
    pipe.send(transport.address)
    end = time.monotonic() + PATIENCE_S
    try:
        while got < WARM + messages:
            if time.monotonic() > end:
                raise RunError(f"bench mesh: {got} of {WARM + messages} messages arrived")
            for address, payload in transport.receive(0.2):
                proved = transport.peer(address)
                if not buckets.take(0.0, proved or address):
                    continue
                request = rpc.receive(address, payload, proved)
                if not isinstance(request, Request):
                    continue
                if name == "signed":
                    decode_packet(request.body)
                got += 1
                if got == WARM:
                    began = time.perf_counter()
        took = time.perf_counter() - began
        pipe.send("enough")
    finally:
        transport.close()
    return messages / took


def _send(pipe: Any, name: str, messages: int, folder: str) -> None:
    transport, identity = _transport(name, 1, folder), Identity.seeded("bench", 1)
    rpc = Rpc(identity.id, Tcp(max_pending=10**9, rpc_timeout_s=1e6), 0)
    address, body, sent = pipe.recv(), _body(identity, name == "signed"), 0
    while not pipe.poll(0):
        if sent < WARM + messages and transport.waiting(address) < WINDOW:
            for _ in range(WINDOW):
                for send in rpc.request(0.0, address, "bench", body, None):
                    transport.send(send.address, send.payload)
            sent += WINDOW
            transport.receive(0.0)
        else:
            transport.receive(0.01)
    transport.close()


def _body(identity: Identity, signed: bool) -> bytes:
    if not signed:
        return b"x" * SIZE
    return encode_packet(_packet(identity, SIZE - 200), identity)


def _packet(identity: Identity, size: int) -> OutcomePacket:
    return OutcomePacket(
        task=b"t" * 16,
        encoder=b"e" * 16,
        author=identity.public_key,
        sequence=1,
        created_s=0.0,
        ttl_s=1,
        support=1,
        payload={"x": np.zeros(size, np.uint8)},
    )


def refusals() -> dict[str, float]:
    """Return how many bad headers and bad signatures are refused in a second of one core."""
    identity = Identity.seeded("bench", 2)
    whole = encode_packet(_packet(identity, SIZE - 200), identity)
    forged = whole[:-1] + bytes([whole[-1] ^ 1])
    return {
        "refused_headers_per_s": _refused(b"\x00" + whole[1:], 200_000),
        "refused_signatures_per_s": _refused(forged, 5_000),
    }


def _refused(data: bytes, count: int) -> float:
    decode: Callable[[bytes], Any] = decode_packet
    began, refused = time.process_time(), 0
    for _ in range(count):
        try:
            decode(data)
        except PacketError:
            refused += 1
    if refused != count:
        raise RunError(f"bench mesh: {count - refused} bad packets were taken")
    return count / (time.process_time() - began)
