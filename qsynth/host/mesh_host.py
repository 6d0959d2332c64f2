"""Drive a node with real sockets: one mesh thread beside the training thread."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any

from qsynth.dht.record import Record
from qsynth.errors import MeshError, StateError
from qsynth.host.ledger import Ledger
from qsynth.host.recorder import Recorder
from qsynth.host.revocations import Revocations
from qsynth.host.twins import Twins
from qsynth.identity.vouchers import Vouchers
from qsynth.mesh import Send
from qsynth.mesh.renewal import Renewal
from qsynth.mesh.tls import Tls
from qsynth.mesh.transport import LiveTransport
from qsynth.pipeline.publication import Publication
from qsynth.protocol.effects import Effects
from qsynth.protocol.journal import State
from qsynth.protocol.node import Node
from qsynth.protocol.restore import entries_of
from qsynth.records.service import Records
from qsynth.trust import Admitted
from qsynth.types import NodeId

MAX_TRACEBACKS = 10  # printed in a node's log; the last one stands in its result
FAREWELL_S = 1.0  # between two rounds of asking whether the others have finished
IDLE_S = 0.25  # the mesh thread looks up at least this often
BOOTSTRAP_S = (0.5, 5.0)  # between two looks for unknown addresses: while alone, and later


class MeshHost:
    """Own a transport and a node; be the port of a participant.

    bootstrap: returns addresses to join through; asked again while the node is alone, and now
    and then afterwards, so that two halves that started apart find each other.  state: where the
    node remembers; the host loads nothing from it.  ledger: of the packets that leave.
    tls: its certificates, where it has some; new ones are taken up while it runs.
    """

    def __init__(
        self,
        node: Node,
        transport: LiveTransport,
        recorder: Recorder,
        bootstrap: Callable[[], Sequence[str]],
        state: State | None = None,
        ledger: Ledger | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.state, self.ledger = state, ledger
        self.node, self.transport, self.recorder = node, transport, recorder
        self.error: str | None = None
        self.began_s = time.time()
        self._bootstrap = bootstrap
        self._tried: set[str] = set()
        self._lock = threading.Lock()
        self._outbox: deque[Send | str] = deque()
        self._asked: dict[int, Future[Any]] = {}  # stores and gets of the user, by ticket
        self._ended: deque[tuple[Future[Any], Any]] = deque()  # with what came of them
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="mesh", daemon=True)
        self._renewal = None if tls is None else Renewal(tls, self.note)
        author = node.identity.public_key
        self._looks: list[Callable[[float], None]] = []  # at what others store, now and then
        if tls is not None and tls.kept is not None:
            self._looks.append(Revocations(tls.folder, tls.kept, author, self).look)
        if state is not None and node.service(Records) is not None:
            began_ms = int(1000.0 * self.began_s)
            self._looks.append(Twins(node.me, author, began_ms, self).look)

    def start(self) -> None:
        """Join, and serve from now on."""
        self._thread.start()

    def end_period(
        self, period: int, publication: Publication | None, same: float
    ) -> Mapping[NodeId, Admitted]:
        """Hand a publication to the node; return what it has admitted by now.

        Raises StateError where the node can no longer remember.
        """
        self.check()
        with self._lock:
            now = time.monotonic()
            self._apply(self.node.end_period(now, period, publication, same))
            admitted = self.node.authors()
        self._resolve()
        self.transport.wake()
        return admitted

    def check(self) -> None:
        """Raise StateError where the mesh has ended: its node can no longer remember."""
        if self._stop.is_set() and self.error is not None:
            raise StateError(self.error)

    def note(self, records: list[dict[str, Any]]) -> None:
        """Record what the learner has to say."""
        self.recorder.write(time.time(), records)

    def learned(
        self, held: Mapping[NodeId, int], used: Collection[NodeId], likelihood: float
    ) -> None:
        """Tell the node how a new synthesis went."""
        with self._lock:
            self.node.peers.learned(held, used, likelihood)

    def store(self, key: bytes, value: bytes, ttl_s: float) -> Future[int]:
        """Store a signed value under a 32-byte key; the result is how many nodes keep it.

        Safe from any thread.  Raises ValueError where key, value or ttl are out of range; the
        future raises MeshError where the host is closed first.
        """
        records = self._records()
        return self._ask(lambda now, effects: records.store(now, key, value, ttl_s, effects))

    def get(self, key: bytes, author: bytes = b"") -> Future[list[Record]]:
        """Read what is stored under a key: the newest record of each author, checked.

        author: a public key, for its record alone.
        """
        records = self._records()
        return self._ask(lambda now, effects: records.get(now, key, effects, author))

    def _records(self) -> Records:
        records = self.node.service(Records)
        if records is None:
            raise MeshError("the node was made without records")
        return records

    def _ask(self, begin: Callable[[float, Effects], int]) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # from here on it cannot be cancelled
        with self._lock:
            if self._stop.is_set():
                raise MeshError("the node is closed")
            ticket, effects = self.node.serve(time.monotonic(), begin)
            self._asked[ticket] = future
            self._apply(effects)
        self._resolve()
        self.transport.wake()
        return future

    def _resolve(self) -> None:
        """Tell who waits, without the lock: what they do then may ask again."""
        while self._ended:
            future, result = self._ended.popleft()
            if isinstance(result, MeshError):
                future.set_exception(result)
            else:
                future.set_result(result)

    def finish(self, linger_s: float) -> bool:
        """Serve until all nodes known have finished; return False if `linger_s` ran out."""
        deadline = time.monotonic() + linger_s
        while time.monotonic() < deadline:
            with self._lock:
                self._apply(self.node.finish(time.monotonic()))
                if self.node.all_finished:
                    break
            self.transport.wake()
            self._stop.wait(FAREWELL_S)
        else:
            return self.node.all_finished
        # Serve one more round: the last one to finish still asks us whether we have.
        self._stop.wait(FAREWELL_S)
        return True

    def close(self) -> None:
        """Stop serving."""
        self._stop.set()
        if self._thread.is_alive():
            self.transport.wake()
            self._thread.join(timeout=5.0)
        self.transport.close()
        with self._lock:
            closed = MeshError("the node was closed")
            self._ended.extend((future, closed) for future in self._asked.values())
            self._asked.clear()
        self._resolve()

    @property
    def certificate_days(self) -> float | None:
        """Return how many days what it proves itself by holds still; None where nobody knows."""
        days = math.inf if self._renewal is None else self._renewal.days
        return days if math.isfinite(days) else None

    def withdraw(self) -> tuple[int, int]:
        """Take back what the node has published; return how many were told, how many confirmed."""
        with self._lock:
            self._apply(self.node.withdraw(time.monotonic()))
            told = self.node.withdrawals
        self.transport.wake()
        return len(told.asked), len(told.confirmed & told.asked)

    def paused(self) -> threading.Lock:
        """Return the lock under which the node does not change."""
        return self._lock

    def _loop(self) -> None:
        next_bootstrap, failures = 0.0, 0
        while not self._stop.is_set():
            try:
                now = time.monotonic()
                if now >= next_bootstrap:
                    next_bootstrap = now + BOOTSTRAP_S[not self.node.alone]
                    self._look_for_addresses(now)
                for look in self._looks:
                    with suppress(MeshError):  # the node ends
                        look(now)
                self._renew(now)
                self._turn(now)
            except StateError as error:
                # What cannot be remembered must not be acknowledged: the node ends.
                self.error = str(error)
                self._stop.set()
            except Exception:
                # A bug here must neither stop the training nor cut the node off: it is shown, it
                # makes the node `failed` in the end, and the mesh goes on.
                failures += 1
                self.error = traceback.format_exc()
                if failures <= MAX_TRACEBACKS:
                    traceback.print_exc()
                self._stop.wait(IDLE_S)

    def _turn(self, now: float) -> None:
        """Send what waits, take what has come, do what is due."""
        self._flush()
        with self._lock:
            wake_at = self.node.wake_at
        wait = min(IDLE_S, max(0.0, (wake_at or now + IDLE_S) - now))
        messages = self.transport.receive(wait)
        with self._lock:
            now = time.monotonic()
            for address, payload in messages:
                proved = self.transport.peer(address)
                self._apply(self.node.message(now, address, payload, proved))
            self._apply(self.node.timer(now))
        self._resolve()

    def _renew(self, now: float) -> None:
        """Take up certificates that are new: who is refused by them is refused from now on."""
        renewal = self._renewal
        found = None if renewal is None else renewal.look(now)
        if renewal is None or found is None:
            return
        try:
            self.transport.renew(found)
        except Exception as error:  # whatever it is: nobody reaches the node until it is mended
            renewal.refuse(str(error) or repr(error))
            return
        with self._lock:
            act = partial(_members_by, self.node, found.vouchers)
            self._apply(self.node.serve(now, act)[1])
            if self.state is not None:
                self.state.replace(entries_of(self.node))
        renewal.taken(found)

    def _look_for_addresses(self, now: float) -> None:
        known = [a for a in self._bootstrap() if a != self.node.address]
        with self._lock:
            familiar = {c.address for c in self.node.table.contacts.values()}
            strangers = set(known) - familiar - self._tried
            if self.node.alone:
                self._apply(self.node.start(now, known))
            elif strangers:
                # Whoever started apart from us is asked once: no two meshes from one fleet.
                self._tried |= strangers
                self._apply(self.node.start(now, sorted(strangers)))

    def _apply(self, effects: Effects) -> None:
        if self.state is not None and effects.entries:
            self.state.append(effects.entries)  # before anybody is told
            if self.state.full:
                self.state.replace(entries_of(self.node))
        if self.ledger is not None:
            self.ledger.append(time.time(), [r for r in effects.records if r["event"] == "sent"])
        self._outbox.extend(effects.sends)
        self._outbox.extend(effects.forget)
        if effects.records:
            self.recorder.write(time.time(), effects.records)
        for ticket, result in effects.done:
            if ticket in self._asked:  # else a republished record
                self._ended.append((self._asked.pop(ticket), result))

    def _flush(self) -> None:
        while self._outbox:
            item = self._outbox.popleft()
            if isinstance(item, str):
                self.transport.forget(item)
            else:
                self.recorder.count(item)
                self.transport.send(item.address, item.payload)


def _members_by(node: Node, vouchers: Vouchers, _now: float, effects: Effects) -> None:
    node.membership.renew(vouchers, effects)
