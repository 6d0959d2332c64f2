"""The mesh side of one node on one host.  Without torch: who was killed answers again at once."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from qsynth.errors import StateError
from qsynth.host.assemble import assemble
from qsynth.host.ledger import NAME as LEDGER
from qsynth.host.ledger import Ledger
from qsynth.host.log import Log
from qsynth.host.mesh_host import MeshHost
from qsynth.host.metrics import serve_metrics
from qsynth.host.recorder import Recorder
from qsynth.host.status import Learning, StatusSocket, status_of
from qsynth.host.watcher import Watcher, label_check
from qsynth.identity.file import identity_of
from qsynth.mesh.tls import tls_of
from qsynth.pipeline.publication import Rules
from qsynth.privacy import check_home
from qsynth.protocol.journal import State
from qsynth.protocol.restore import entries_of, restore
from qsynth.types import Task

MOST_EVENTS = 16 * 2**20  # bytes of a node's record, before an older part is let go


@dataclass(frozen=True)
class Card:
    """Hold what the mesh side needs to know of a node's data; kept, it saves loading them first.

    made_from: digest of the settings that it follows from.  data: digest of all samples, and
    trained: of those that it trains on; empty in cards of older versions.
    """

    made_from: bytes
    name: str
    seed: int
    task: Task
    encoder: bytes
    data: bytes = b""
    trained: bytes = b""

    def save(self, home: Path) -> None:
        """Write the card.  Raises StateError."""
        part = home / "card.part"
        try:
            part.write_bytes(msgspec.msgpack.encode(self))
            part.replace(home / "card")
        except OSError as error:
            raise StateError(f"{home}/card: cannot be written ({error})") from None

    @classmethod
    def load(cls, home: Path, made_from: bytes | None) -> Card | None:
        """Return the card of an earlier life, None where there is none of these settings.

        made_from: None for whichever settings it was made from.
        """
        try:
            card = msgspec.msgpack.decode((home / "card").read_bytes(), type=cls)
        except (OSError, ValueError):
            return None  # it will be made again
        return card if made_from in (None, card.made_from) else None


@dataclass(frozen=True)
class Settings:
    """Hold the configs that a node's mesh side is put together from."""

    rules: Rules
    trust: Any
    peers: Any
    dht: Any
    mesh: Any
    publish: str = "auto"


class Serving:
    """A node that answers: identity, memory, socket, mesh thread, and who watches it.

    log: takes what the user is to know, line by line.  Raises StateError, or MeshError where its
    address cannot be listened on.
    """

    def __init__(self, card: Card, settings: Settings, home: Path, log: Log) -> None:
        identity, tell = identity_of(home), log.tell
        log.node = identity.id.hex()[:16]
        self.state, self.tell, self.warn = State(home), tell, log.warn
        folder = home / "nodes" / card.name
        folder.mkdir(parents=True, exist_ok=True)
        mesh = settings.mesh
        tls = tls_of(mesh, home)
        transport = mesh.transport(mesh.listening, tls)
        address = mesh.advertise or transport.address
        machine = assemble(
            card.task,
            card.encoder,
            settings.rules,
            trust=settings.trust,
            peers=settings.peers,
            dht=settings.dht,
            mesh=mesh,
            identity=identity,
            address=address,
            epoch_s=time.time() - time.monotonic(),
            seed=card.seed,
            vouchers=tls.vouchers if tls else None,
        )
        machine.clock(time.monotonic())
        # Until the learner has asked whether its packet may leave: nothing does.
        machine.shadow = settings.publish != "auto"
        known = restore(machine, self.state.load())
        check_home(settings.rules.privacy, machine.own_packet is not None, home)
        self.state.replace(entries_of(machine))
        self.recorder = Recorder(
            identity.id.hex()[:8], folder / "events.jsonl", watched=True, most_bytes=MOST_EVENTS
        )
        self.host = MeshHost(
            machine,
            transport,
            self.recorder,
            lambda: [*mesh.join, *known],
            self.state,
            Ledger(home / LEDGER),
            tls,
        )
        self._tell_begun(mesh.dial_only)
        self.host.note([{"event": "started", "id": machine.me.hex()}])
        self.host.start()
        labels = label_check(self.host, settings.rules.similarity, card.task.labels)
        self._watcher = Watcher(self.host, mesh.join, tell, labels, settings.publish, log.warn)
        if machine.withdrawals.covers(machine.me) >= 0 and settings.publish == "auto":
            tell("its earlier packets were withdrawn; it publishes anew (publish=never: nothing)")
        self._watcher.start()
        self.learning = Learning()
        source = partial(status_of, self.host, self.learning, home)
        self._status = StatusSocket(home, source, tell)
        self._metrics = serve_metrics(mesh.metrics, source, tell)
        self.stop = threading.Event()
        _stop_on_signals(self.stop)

    def _tell_begun(self, dial_only: bool) -> None:
        node = self.host.node
        name = node.me.hex()[:16]
        self.tell(
            f"node {name} dials out only, and looks for a peer that relays"
            if dial_only
            else f"node {name} listens at {node.address}"
        )
        if node.sequence:
            self.tell(f"goes on: packet {node.sequence}, {len(node.held)} packets of others")

    def close(self) -> None:
        """Stop serving; what the node knows is kept."""
        self._status.close()
        if self._metrics is not None:
            self._metrics.close()
        self._watcher.stop()
        self.host.close()
        try:
            self.state.replace(entries_of(self.host.node))
        finally:
            self.state.close()
        assert self.host.ledger is not None
        self.host.ledger.close()
        self.recorder.close()


def _stop_on_signals(stop: threading.Event) -> None:
    def end(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)  # asked twice: the next one ends it at once
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
