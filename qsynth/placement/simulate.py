"""The placement `simulate`: all nodes in one process, on a virtual clock.

The same node code, the same Trainers: each fit runs on a thread of its own, but only one thread
runs at a time, handed a baton by the clock, and every global random generator goes with the
baton.  So the same seed gives the same packets and weights, bit for bit, on one machine.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from qsynth.errors import RunError
from qsynth.identity import Identity
from qsynth.mesh import MemoryNetwork
from qsynth.node.effects import Effects
from qsynth.node.node import Node
from qsynth.node.recorder import Recorder
from qsynth.node.study import Outcome
from qsynth.peers.config import Central, Oracle
from qsynth.placement.finish import write_predictor, write_result
from qsynth.placement.plan import NodePlan, Plan
from qsynth.placement.train import (
    fit,
    make_node,
    make_participant,
    make_study,
    quietly,
    single_threaded,
)
from qsynth.synthesis import Predictor
from qsynth.synthesis.teach import Teaching
from qsynth.trust import Admitted
from qsynth.types import NodeId

Watch = Callable[[NodePlan, int, Predictor], None]
EPOCH_S = 1_700_000_000.0  # the virtual clock's 0, so that packets are the same at any date
PERIOD_JITTER = 0.1  # of a period's length: nodes are not in step


class Baton:
    """Let one of two threads run: the clock's or a node's."""

    def __init__(self) -> None:
        self._to_node, self._to_clock = threading.Semaphore(0), threading.Semaphore(0)
        self._generators: tuple[Any, Any, Any] | None = None

    def give(self) -> None:
        """Let the node run until it gives back (called by the clock)."""
        if self._generators is not None:
            torch.set_rng_state(self._generators[0])
            np.random.set_state(self._generators[1])
            random.setstate(self._generators[2])
        self._to_node.release()
        self._to_clock.acquire()

    def give_back(self) -> None:
        """Let the clock run (called by the node)."""
        self._generators = (torch.get_rng_state(), np.random.get_state(), random.getstate())
        self._to_clock.release()

    def wait(self) -> None:
        """Wait for the clock (called by the node)."""
        self._to_node.acquire()


class SimulatedNode:
    """A node, its learner's thread, and its place on the clock."""

    def __init__(
        self, plan: Plan, node: NodePlan, network: MemoryNetwork,
        wanted: Sequence[NodeId] | None = None, watch: Watch | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.node, self.network = plan, node, network
        folder = plan.node_folder(node)
        folder.mkdir(parents=True, exist_ok=True)
        self.recorder = Recorder(node.name, folder / "events.jsonl")
        identity = Identity.seeded(plan.seed, node.name)
        address = f"memory:{node.name}"
        self.machine: Node = make_node(
            plan, node, identity, address, EPOCH_S, rpc_seed=node.seed, wanted=wanted
        )
        self.transport = network.attach(address, self._received)
        self.participant = make_participant(plan, node, self)
        self.watch = watch
        self.baton = Baton()
        self.error: BaseException | None = None
        self.done = False
        self.weight, self.finished_s = 0.0, 0.0
        self._rng = np.random.default_rng([node.seed, 10])
        self._timer: float | None = None
        self._thread = threading.Thread(target=self._run, name=node.name, daemon=True)

    def start(self, now: float) -> None:
        """Begin the fit; the first node to start finds nobody to join."""
        self.note([{"event": "started", "id": self.machine.me.hex()}])
        self._thread.start()
        self.baton.give()
        self._schedule(now)

    def join(self, addresses: list[str], now: float) -> None:
        """Join through any of these addresses."""
        self.apply(self.machine.start(now, addresses))

    def end_period(
        self, period: int, outcome: Outcome | None, same: float
    ) -> Mapping[NodeId, Admitted]:
        """Wait until the virtual clock says that the period is over; then exchange."""
        if period > 0:
            self.baton.give_back()
            self.baton.wait()
        self.apply(self.machine.end_period(self.network.now, period, outcome, same))
        return self.machine.authors()

    def note(self, records: list[dict[str, Any]]) -> None:
        """Record what the learner has to say."""
        self.recorder.write(EPOCH_S + self.network.now, records)

    def learned(
        self, held: Mapping[NodeId, int], used: Collection[NodeId], likelihood: float
    ) -> None:
        """Tell the node how a new synthesis went."""
        self.machine.peers.learned(held, used, likelihood)

    def apply(self, effects: Effects) -> None:
        """Send, record, and set the next timer."""
        for send in effects.sends:
            self.recorder.count(send)
            self.transport.send(send.address, send.payload)
        if effects.records:
            self.recorder.write(EPOCH_S + self.network.now, effects.records)
        wake_at = self.machine.wake_at
        if wake_at is not None and (self._timer is None or wake_at < self._timer):
            self._timer = wake_at
            self.network.at(wake_at, self._fired)

    def write_result(self) -> None:
        """Write what happened, once the node has served the others to the end."""
        write_result(
            self.plan, self.node, self.machine, self.participant, self.recorder,
            status="finished", head_weight=self.weight, finished_s=self.finished_s,
            cpu_s=None, memory_mib=None, shed=self.transport.shed, lingered=True,
        )  # fmt: skip

    def _received(self, now: float, sender: str, payload: bytes) -> None:
        self.apply(self.machine.message(now, sender, payload))

    def _fired(self, now: float) -> None:
        if self._timer is not None and now >= self._timer:
            self._timer = None
            self.apply(self.machine.timer(now))

    def _schedule(self, now: float) -> None:
        if self.done:
            if self.error is None:
                self.apply(self.machine.finish(now))
            return
        length = self.plan.mesh.period_s * float(
            self._rng.uniform(1.0 - PERIOD_JITTER, 1.0 + PERIOD_JITTER)
        )
        self.network.at(now + length, self._turn)

    def _turn(self, now: float) -> None:
        self.baton.give()
        self._schedule(now)

    def _exchange(self, period: int, network: nn.Module) -> Teaching | None:
        teaching = self.participant.exchange(period, network)
        if self.watch is not None:
            self.watch(self.node, period, self.participant.predictor(network))
        return teaching

    def _run(self) -> None:
        self.baton.wait()
        try:
            network = fit(self.plan, self.node, self._exchange)
            self.weight = write_predictor(self.plan, self.node, self.participant, network)
            self.finished_s = self.network.now
        except BaseException as error:  # handed to the clock's thread, which raises it
            self.error = error
        finally:
            self.done = True
            self.baton.give_back()


def simulate(plan: Plan, watch: Watch | None = None) -> dict[str, Any]:
    """Run a plan on a virtual clock.  Returns wall and CPU seconds.  Raises RunError.

    watch: called with each node's predictor at the end of each of its periods.
    """
    single_threaded()
    began, cpu = time.monotonic(), time.process_time()
    network = MemoryNetwork(plan.mesh.latency_s, plan.seed)
    wanted = wanted_authors(plan)
    nodes = [
        SimulatedNode(plan, node, network, wanted.get(node.name), watch) for node in plan.nodes
    ]

    def run() -> None:
        addresses: list[str] = []

        def begin(node: SimulatedNode, now: float) -> None:
            node.start(now)
            _raise_errors(nodes)
            node.join(addresses[-3:], now)
            addresses.append(node.transport.address)

        for node in nodes:
            if node.node.begins is not None:
                late = node.node.begins * plan.mesh.period_s
                network.at(network.now + late, partial(begin, node))
            else:
                begin(node, network.now)
        while not all(node.done for node in nodes):
            if not network.step():
                raise RunError("the virtual clock has stopped before all nodes have finished")
            _raise_errors(nodes)

    quietly(run)
    for node in nodes:
        node.write_result()
        node.recorder.close()
    return {"wall_s": time.monotonic() - began, "cpu_s": time.process_time() - cpu}


def wanted_authors(plan: Plan) -> dict[str, list[NodeId]]:
    """Return the ids that `peers` oracle or central wants for each node; else nothing.

    Only a simulation can know them: true groups, and everybody's fingerprint at once.
    """
    ids = {node.name: Identity.seeded(plan.seed, node.name).id for node in plan.nodes}
    wanted: dict[str, list[NodeId]] = {}
    if isinstance(plan.peers, Oracle):
        for node in plan.nodes:
            mates = [
                o for o in plan.nodes if o.share.group == node.share.group and o.index != node.index
            ]
            rng = np.random.default_rng([node.seed, 11])
            drawn = rng.permutation(len(mates))[: plan.peers.k]
            wanted[node.name] = [ids[mates[i].name] for i in sorted(drawn)]
    elif isinstance(plan.peers, Central):
        studies = {node.name: make_study(plan, node) for node in plan.nodes}
        outcomes = {name: study.distil() for name, study in studies.items()}
        # Who publishes nothing is nobody to learn from.
        prints = {name: o.fingerprint for name, o in outcomes.items() if o.support}
        for name, study in studies.items():
            floor = plan.peers.min_similarity * study.self_similarity()
            others = [other for other in prints if other != name]
            query = outcomes[name].query
            alike = sorted((-study.alike(query, prints[o]), ids[o]) for o in others)
            wanted[name] = [i for score, i in alike[: plan.peers.k] if -score >= floor]
    return wanted


def _raise_errors(nodes: list[SimulatedNode]) -> None:
    for node in nodes:
        if node.error is not None:
            raise node.error
