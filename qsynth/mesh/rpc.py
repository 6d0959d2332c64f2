"""Requests and answers over one-way messages: ids, deadlines, retries.  Sans-I/O."""

from __future__ import annotations

import heapq
import secrets
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np

from qsynth.mesh.transport import MeshOptions
from qsynth.types import NodeId

PROTOCOL = 1
CONNECTION = "pipe:"  # how a transport calls its connections, and nobody else's
MOST_NAMES = 4096
REQUEST, ANSWER, REFUSAL = 0, 1, 2
FORWARD, DELIVERY = 3, 4  # a message inside: to be carried on, and carried here


class Send(NamedTuple):
    """A message to be sent: where, what, and the kind it is counted under."""

    address: str
    payload: bytes
    kind: str


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """What every message is wrapped in."""

    protocol: int
    type: int
    number: int
    kind: str
    sender: bytes
    body: bytes


@dataclass(frozen=True)
class Request:
    """A peer asks.  address: where the answer goes."""

    address: str
    number: int
    kind: str
    sender: NodeId
    body: bytes


@dataclass(frozen=True)
class Carried:
    """A message inside a message.  forward: whether it is for somebody else."""

    address: str
    sender: NodeId
    body: bytes
    forward: bool


@dataclass(frozen=True)
class Answer:
    """A peer has answered, or refused; `tag` is what the asker gave along."""

    kind: str
    sender: NodeId
    body: bytes
    tag: Any
    refused: bool


@dataclass(frozen=True)
class Failure:
    """A peer has not answered in time, retries included."""

    kind: str
    address: str
    tag: Any


@dataclass
class _Pending:
    address: str
    kind: str
    payload: bytes
    tag: Any
    retries: int
    began: float


class Rpc:
    """Keep the requests of one node that are under way.

    counts: what was refused or shed, by reason.  answered, waited_s: requests that were answered,
    and the seconds until then, by kind.  seed: of request numbers; None is the system's randomness,
    a number makes a simulation repeatable.
    """

    def __init__(self, me: NodeId, config: MeshOptions, seed: int | None = None) -> None:
        self.me, self.config = me, config
        self.counts: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.waited_s: defaultdict[str, float] = defaultdict(float)
        self._pending: dict[int, _Pending] = {}
        self._names: OrderedDict[str, bytes] = OrderedDict()  # by connection
        self._deadlines: list[tuple[float, int]] = []
        # Numbers that others cannot guess: an answer is not forged by who does not see it.
        self._numbers = None if seed is None else np.random.default_rng(seed)

    def request(self, now: float, address: str, kind: str, body: bytes, tag: Any) -> list[Send]:
        """Return the message that asks, or nothing (and count it) where too much is under way."""
        if len(self._pending) >= self.config.max_pending:
            self.counts["too_many_requests"] += 1
            return []
        if self._numbers is None:
            number = 1 + secrets.randbelow(2**62)
        else:
            number = int(self._numbers.integers(1, 2**62))
        payload = self._wrap(REQUEST, number, kind, body)
        self._pending[number] = _Pending(address, kind, payload, tag, self.config.rpc_retries, now)
        heapq.heappush(self._deadlines, (now + self.config.rpc_timeout_s, number))
        return [Send(address, payload, kind)]

    def answer(
        self, request: Request, body: bytes, refused: bool = False, known: bool = True
    ) -> Send:
        """Return the message that answers a request; a kind not `known` is counted as such."""
        type_ = REFUSAL if refused else ANSWER
        payload = self._wrap(type_, request.number, request.kind, body)
        return Send(request.address, payload, f"{request.kind if known else 'unknown'}_answer")

    def wrap(self, body: bytes, forward: bool) -> bytes:
        """Return a message that carries another inside."""
        return self._wrap(FORWARD if forward else DELIVERY, 0, "", body)

    def receive(
        self, address: str, payload: bytes, proved: bytes | None = None, now: float | None = None
    ) -> Request | Answer | Carried | None:
        """Return what a message is; None, and a count, where it is none of ours.

        proved: the id that its connection has proved, which must be its sender's.  now: of the
        clock by which its request was sent.
        """
        if len(payload) > self.config.max_message_bytes:
            self.counts["oversize"] += 1
            return None
        try:
            envelope = msgspec.msgpack.decode(payload, type=Envelope)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self.counts["malformed"] += 1
            return None
        if envelope.protocol != PROTOCOL or len(envelope.sender) != 32 or len(envelope.kind) > 16:
            self.counts["protocol"] += 1
            return None
        sure = self._one_name(address, envelope.sender) if proved is None else proved
        if envelope.sender != sure:
            self.counts["impostor"] += 1
            return None
        if envelope.type == REQUEST:
            return Request(address, envelope.number, envelope.kind, envelope.sender, envelope.body)
        if envelope.type in (FORWARD, DELIVERY):
            forward = envelope.type == FORWARD
            return Carried(address, envelope.sender, envelope.body, forward)
        pending = self._pending.get(envelope.number)
        if pending is None or pending.kind != envelope.kind:
            self.counts["late_answer"] += 1
            return None
        del self._pending[envelope.number]
        if now is not None:
            self.answered[pending.kind] += 1
            self.waited_s[pending.kind] += now - pending.began
        refused = envelope.type == REFUSAL
        return Answer(envelope.kind, envelope.sender, envelope.body, pending.tag, refused)

    def _one_name(self, address: str, sender: bytes) -> bytes:
        """Return the name that a connection has begun with; of no connection, the sender's."""
        if not address.startswith(CONNECTION):
            return sender
        first = self._names.pop(address, sender)
        self._names[address] = first
        if len(self._names) > MOST_NAMES:
            self._names.popitem(last=False)
        return first

    def due(self, now: float) -> tuple[list[Send], list[Failure]]:
        """Return requests to send again, and those given up."""
        sends, failures = [], []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number = heapq.heappop(self._deadlines)
            pending = self._pending.get(number)
            if pending is None:
                continue
            if pending.retries > 0:
                pending.retries -= 1
                sends.append(Send(pending.address, pending.payload, pending.kind))
                heapq.heappush(self._deadlines, (now + self.config.rpc_timeout_s, number))
            else:
                del self._pending[number]
                self.counts["timeout"] += 1
                failures.append(Failure(pending.kind, pending.address, pending.tag))
        return sends, failures

    @property
    def wake_at(self) -> float | None:
        """Return when `due` has something to do."""
        while self._deadlines and self._deadlines[0][1] not in self._pending:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def _wrap(self, type_: int, number: int, kind: str, body: bytes) -> bytes:
        return msgspec.msgpack.encode(Envelope(PROTOCOL, type_, number, kind, self.me, body))
