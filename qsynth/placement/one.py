"""One node on one host: it joins, trains, serves, and goes on where it was killed."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from pytorch_lightning.utilities.exceptions import SIGTERMException

from qsynth.identity.file import identity_of
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.tls import tls_of
from qsynth.node.host import MeshHost
from qsynth.node.memory import private_mib
from qsynth.node.recorder import Recorder
from qsynth.node.saved import entries_of, restore
from qsynth.node.state import State
from qsynth.placement.checkpoint import Checkpoints, StoppedError
from qsynth.placement.finish import write_predictor, write_result
from qsynth.placement.plan import NodePlan, Plan
from qsynth.placement.train import fit, make_node, make_participant, quietly, single_threaded

Tell = Callable[[str], None]
ALONE_S = 5.0  # without an answer: say so
WATCH_S = 0.5
MOST_LINES = 256  # different ones; the rest stand in events.jsonl
# By what is counted: each line once.
WARNINGS = {
    "protocol": "a peer speaks another version of the protocol: run the same qsynth everywhere",
    "rejected_future": "a packet from the future: this clock or its author's is off",
    "impostor": "somebody speaks in another node's name, or its certificate is another node's",
    "over_budget": "mesh.bytes_per_hour is spent: messages are left out until it has grown again",
    "rate": "a peer sends more than mesh.requests_per_s: the rest is not looked at",
    "unwelcome": "a node that trust.allow or trust.deny keeps out has tried to talk",
}
SERVING_PERIOD_S = 2.0  # of a node that has trained


def run_one(plan: Plan, node: NodePlan, tell: Tell) -> None:
    """Be one node until a signal ends it: join, train, serve; go on where it was killed.

    plan.folder: of its identity and all that it remembers.  tell: what the user is to know, line by
    line.  Raises StateError, or MeshError where its address cannot be listened on.
    """
    single_threaded()
    identity = identity_of(plan.folder)
    state = State(plan.folder)
    folder = plan.node_folder(node)
    folder.mkdir(parents=True, exist_ok=True)
    transport = PynngTransport(plan.mesh.listening, plan.mesh.max_message_bytes, tls_of(plan.mesh))
    address = plan.mesh.advertise or transport.address
    machine = make_node(plan, node, identity, address, time.time() - time.monotonic())
    machine.clock(time.monotonic())
    known = restore(machine, state.load())
    state.replace(entries_of(machine))
    recorder = Recorder(identity.id.hex()[:8], folder / "events.jsonl", watched=True)
    host = MeshHost(machine, transport, recorder, lambda: [*plan.mesh.join, *known], state)
    tell(f"node {identity.id.hex()[:16]} listens at {address}")
    if machine.sequence:
        tell(f"goes on: packet {machine.sequence}, {len(machine.held)} packets of others")
    host.note([{"event": "started", "id": machine.me.hex()}])
    host.start()
    watcher = Watcher(host, plan, tell)
    watcher.start()
    stop = threading.Event()
    _stop_on_signals(stop)
    try:
        _learn(plan, node, host, stop, tell)
    except (StoppedError, SIGTERMException):
        pass  # all is saved
    finally:
        watcher.stop()
        host.close()
        _close(host, state)
        recorder.close()
    tell("ended: asked to; what it knows is kept")


def _learn(plan: Plan, node: NodePlan, host: MeshHost, stop: threading.Event, tell: Tell) -> None:
    """Train; then go on learning from others, a period every so often, until asked to end."""
    began_cpu = time.process_time()
    participant = make_participant(plan, node, host)
    checkpoints = Checkpoints(plan.folder / "checkpoint.ckpt", plan.trainer.checkpoint_s, stop)
    if checkpoints.path.exists():
        tell(f"training goes on from {checkpoints.path}")
    network = quietly(partial(fit, plan, node, participant.exchange, checkpoints))
    period = -(-plan.trainer.max_steps // plan.trainer.period_steps)
    shown, trained = None, False
    while not stop.is_set():
        host.check()
        if trained or participant.synthesis is None:
            participant.exchange(period, network)  # also where the fit had ended before
        if participant.synthesis is not shown:
            shown = participant.synthesis
            weight = write_predictor(plan, node, participant, network)
            with host.paused():
                write_result(
                    plan, node, host.node, participant, host.recorder, status="serving",
                    error=host.error, head_weight=weight, finished_s=time.time(), lingered=None,
                    shed=host.transport.shed, cpu_s=time.process_time() - began_cpu,
                    memory_mib=private_mib(),
                )  # fmt: skip
        if not trained:
            host.note([{"event": "finished"}])
            tell(f"trained; its predictor is {plan.node_folder(node) / 'predictor.pt'}; it goes on "
                 "learning from others")  # fmt: skip
        trained = True
        stop.wait(SERVING_PERIOD_S)


def _close(host: MeshHost, state: State) -> None:
    try:
        state.replace(entries_of(host.node))
    finally:
        state.close()


def _stop_on_signals(stop: threading.Event) -> None:
    def end(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            signal.signal(number, signal.SIG_DFL)  # asked twice: the next one ends it at once
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


class Watcher(threading.Thread):
    """Tell what becomes of the node in its mesh: whom it has joined, who refuses it, and why."""

    def __init__(self, host: MeshHost, plan: Plan, tell: Tell) -> None:
        super().__init__(name="watcher", daemon=True)
        self.host, self.plan, self.tell = host, plan, tell
        self._stopped = threading.Event()
        self._seen: set[str] = set()
        self._began = time.monotonic()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def run(self) -> None:
        """Look now and then."""
        while not self._stopped.wait(WATCH_S):
            for record in self.host.recorder.news():
                self._record(record)
            self._counted()
            if time.monotonic() - self._began > ALONE_S and self.host.node.alone:
                asked = ", ".join(self.plan.mesh.join) or "nobody (mesh.join is empty)"
                self._once(f"alone: no answer yet; asked {asked}; others can join through "
                           f"{self.host.node.address}")  # fmt: skip

    def _counted(self) -> None:
        """Tell what has happened that only counts show."""
        counts = Counter(dict(self.host.node.counts))  # copies: the mesh thread goes on counting
        counts += Counter(dict(self.host.node.rpc.counts))
        for reason, line in WARNINGS.items():
            if counts[reason]:
                self._once(line)

    def _record(self, record: dict[str, Any]) -> None:
        event = record["event"]
        if event == "joined":
            self._once(f"joined through {record['through'][:16]}, knows {record['known']}")
        elif event == "unreachable":
            self._once(f"no answer at {record['address']}: is a node listening there?")
        elif event == "refused":
            # A peer's words, on somebody's terminal.
            shown = "".join(c if c.isprintable() else "?" for c in record["reason"])
            self._once(f"refused by a peer: {shown}")

    def _once(self, line: str) -> None:
        if line not in self._seen and len(self._seen) < MOST_LINES:
            self._seen.add(line)
            self.tell(line)
