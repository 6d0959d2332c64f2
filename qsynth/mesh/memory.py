"""The in-memory transport with a turnable clock: for simulations and for users' tests."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsynth.mesh.transport import MeshOptions
from qsynth.schema import option, setting

Receiver = Callable[[float, str, bytes], None]  # (now, address to answer under, message)


@option("mesh")
@dataclass(frozen=True)
class Memory(MeshOptions):
    """No sockets: messages of simulated nodes, delivered on a virtual clock."""

    name: str = setting("memory", "the option's name", choices=("memory",))
    latency_s: float = setting(0.01, "mean virtual seconds of a message", low=0.0, high=1e6)
    period_s: float = setting(1.0, "virtual seconds of a period of learning", low=0.01, high=1e6)

    sockets: ClassVar[bool] = False


@dataclass(frozen=True)
class _Delivery:
    """A message under way; a class, so that a network can be pickled between two steps."""

    network: MemoryNetwork
    sender: str
    address: str
    payload: bytes

    def __call__(self, now: float) -> None:
        self.network.deliver(now, self)


@dataclass(frozen=True)
class Faults:
    """What goes wrong with messages.

    loss: share that never arrives.  duplicates: share that arrives twice.  late: share that takes
    up to `late_s` more, past whatever was sent after it.
    """

    loss: float = 0.0
    duplicates: float = 0.0
    late: float = 0.0
    late_s: float = 5.0


class MemoryNetwork:
    """Deliver messages and call timers in the order of a virtual clock.

    latency_s: mean of a message; each is drawn from [.5, 1.5) of it by the seed.  faults: what goes
    wrong with messages, drawn by the seed as well: the same seed goes wrong in the same way.
    """

    def __init__(
        self, latency_s: float = 0.01, seed: int = 0, faults: Faults | None = None
    ) -> None:
        self.now = 0.0
        self.latency_s, self.faults = latency_s, faults
        self._sides: tuple[frozenset[str], ...] = ()
        self._paused: dict[str, float] = {}  # until when
        self._hidden: dict[str, set[str]] = {}  # whom it has dialled
        self._rng = np.random.default_rng([seed, 7])
        self._order = 0  # of what has been put on the clock
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._receivers: dict[str, Receiver] = {}

    def at(self, time_s: float, call: Callable[[float], None]) -> None:
        """Call `call(now)` at a virtual time; ties in the order of asking."""
        self._order += 1
        heapq.heappush(self._events, (max(time_s, self.now), self._order, call))

    def attach(self, address: str, receiver: Receiver) -> MemoryTransport:
        """Return a transport for an address, whose messages go to `receiver`."""
        self._receivers[address] = receiver
        return MemoryTransport(self, address)

    def detach(self, address: str) -> None:
        """Drop whatever is sent to an address from now on: its node is dead."""
        self._receivers.pop(address, None)

    def carry(self, sender: str, address: str, payload: bytes) -> None:
        """Deliver a message after a latency, if the address is alive then."""
        if sender in self._hidden:
            self._hidden[sender].add(address)
        if sender not in self._hidden.get(address, (sender,)):
            return  # nobody can dial it
        delay = self.latency_s * float(self._rng.uniform(0.5, 1.5))
        message, faults = _Delivery(self, sender, address, payload), self.faults
        if faults is None:
            self.at(self.now + delay, message)
            return
        lost, twice, late = self._rng.random(3) < (faults.loss, faults.duplicates, faults.late)
        if lost or self._divided(sender, address):
            return
        delay += faults.late_s * float(self._rng.random()) if late else 0.0
        self.at(self.now + delay, message)
        if twice:
            self.at(self.now + delay + self.latency_s * float(self._rng.uniform(0.5, 1.5)), message)

    def hide(self, address: str) -> None:
        """Carry to an address from now on only what comes from where it has sent something to."""
        self._hidden[address] = set()

    def divide(self, *sides: Collection[str]) -> None:
        """Carry nothing between these sets of addresses from now on; no sets heal all."""
        self._sides = tuple(frozenset(side) for side in sides)

    def pause(self, address: str, until: float) -> None:
        """Let an address stand still: what reaches it waits until then."""
        self._paused[address] = until

    def standing(self, address: str) -> float | None:
        """Return until when an address stands still, None where it goes."""
        until = self._paused.get(address, 0.0)
        return until if until > self.now else None

    def _divided(self, sender: str, address: str) -> bool:
        return any((sender in side) != (address in side) for side in self._sides)

    def deliver(self, now: float, message: _Delivery) -> None:
        """Hand a message to its receiver, if that is alive now, or once it goes again."""
        until = self.standing(message.address)
        if until is not None:
            self.at(until, message)
            return
        receiver = self._receivers.get(message.address)
        if receiver is not None:
            receiver(now, message.sender, message.payload)

    def step(self) -> bool:
        """Turn the clock to the next event and let it happen; False where none is left."""
        if not self._events:
            return False
        self.now, _, call = heapq.heappop(self._events)
        call(self.now)
        return True

    def run_until(self, time_s: float) -> None:
        """Let everything happen up to a virtual time."""
        while self._events and self._events[0][0] <= time_s:
            self.step()
        self.now = max(self.now, time_s)


class MemoryTransport:
    """One address of a MemoryNetwork."""

    def __init__(self, network: MemoryNetwork, address: str) -> None:
        self._network, self._address = network, address
        self._shed: Counter[str] = Counter()

    @property
    def address(self) -> str:
        """Return the address that others reach this node under."""
        return self._address

    @property
    def shed(self) -> dict[str, int]:
        """Return how many messages were not carried, by reason."""
        return dict(self._shed)

    def peer(self, address: str) -> bytes | None:
        """Return None: nothing is proved in memory."""
        return None

    def send(self, address: str, payload: bytes) -> None:
        """Hand a message to the network."""
        self._network.carry(self._address, address, payload)

    def forget(self, address: str) -> None:
        """Do nothing: there is no connection to close."""

    def close(self) -> None:
        """Take the address off the network."""
        self._network.detach(self._address)
