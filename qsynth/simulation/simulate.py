"""The placement `simulate`: all nodes in one process, on a virtual clock.

The same node code, the same Trainers, one after the other.  So the same seed gives the same
packets and weights, bit for bit, on one machine; also where it was interrupted and goes on from a
snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from qsynth.errors import RunError
from qsynth.mesh import MemoryNetwork
from qsynth.packet import Payload, payload_digest
from qsynth.peers.base import informed
from qsynth.simulation.batched import BatchedNode, learners_of
from qsynth.simulation.known_nodes import KnownNodes
from qsynth.simulation.node import SimulatedNode, Watch
from qsynth.simulation.snapshot import Snapshots
from qsynth.training.fit import quietly, single_threaded
from qsynth.training.plan import RunPlan

JOIN_ADDRESSES = 3


class SharedReader:
    """Read each packet once for all nodes of this process: what it says is the same to all.

    read: gives what a payload says.
    """

    def __init__(self, read: Callable[[Payload], Any]) -> None:
        self.read = read
        self._known: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def __getstate__(self) -> dict[str, Any]:
        """Return what a snapshot keeps; nodes still share what they hold."""
        return {"read": self.read}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a snapshot has kept."""
        self.read, self._known = state["read"], WeakValueDictionary()

    def __call__(self, payload: Payload) -> Any:
        """Return what a payload says, as it was read the first time.  Raises PacketError."""
        key = payload_digest(payload)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self.read(payload)
        return known


class Simulation:
    """All nodes of a plan and their clock."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self.network = MemoryNetwork(plan.mesh.latency_s, plan.seed)
        self.cpu_s = self.wall_s = 0.0  # of the parts before a snapshot
        peers = informed(plan.peers)
        wanted = {} if peers is None else peers.wanted(KnownNodes(plan))
        learners = learners_of(plan, plan.nodes)
        self.nodes = [
            BatchedNode(plan, node, self.network, wanted.get(node.name), learners[node.index])
            if node.index in learners
            else SimulatedNode(plan, node, self.network, wanted.get(node.name))
            for node in plan.nodes
        ]
        shared = SharedReader(self.nodes[0].machine.admission.read)
        for made in self.nodes:
            made.machine.admission = replace(made.machine.admission, read=shared)
        self._addresses: list[str] = []
        self._unfinished = list(self.nodes)

    def start(self) -> None:
        """Begin every fit, newcomers' at their time."""
        for index, node in enumerate(self.nodes):
            if node.node.begins is not None:
                late = node.node.begins * self.plan.mesh.period_s
                self.network.at(self.network.now + late, partial(self._begin, index))
            else:
                self._begin(index, self.network.now)

    def _begin(self, index: int, now: float) -> None:
        node = self.nodes[index]
        node.start(now)
        node.join(self._addresses[-JOIN_ADDRESSES:], now)
        self._addresses.append(node.transport.address)

    def step(self) -> bool:
        """Let the next thing happen; return False once all nodes have finished."""
        while self._unfinished and self._unfinished[-1].done:
            self._unfinished.pop()
        if not self._unfinished:
            return False
        if not self.network.step():
            raise RunError("the virtual clock has stopped before all nodes have finished")
        return True


def simulate(
    plan: RunPlan,
    watch: Watch | None = None,
    snapshots: Snapshots | None = None,
    progress: Callable[[float], None] | None = None,
) -> dict[str, Any]:
    """Run a plan on a virtual clock.  Returns wall and CPU seconds.  Raises RunError.

    watch: called with each node's predictor at the end of each of its periods.  snapshots: where it
    goes on from, if there is one, and is kept.  progress: called once a second, with the seconds
    since the start.  Raises StateError where they cannot be used.
    """
    single_threaded()
    began, cpu = time.monotonic(), time.process_time()
    simulation: Simulation | None = None

    def run() -> None:
        nonlocal simulation
        simulation = snapshots.load(plan, Simulation) if snapshots else None
        anew = simulation is None
        simulation = simulation or Simulation(plan)
        before = simulation.wall_s, simulation.cpu_s
        for node in simulation.nodes:
            node.watch = watch
        if anew:
            simulation.start()
        more, told = True, began
        while more:
            more = simulation.step()
            if progress is not None and (now := time.monotonic()) - told >= 1.0:
                progress(now - began)
                told = now
            simulation.wall_s = before[0] + time.monotonic() - began
            simulation.cpu_s = before[1] + time.process_time() - cpu
            if snapshots is not None and (snapshots.due or not more):
                snapshots.save(simulation)

    try:
        quietly(run)
        assert simulation is not None
        for node in simulation.nodes:
            node.write_result()
    finally:
        for node in simulation.nodes if simulation is not None else []:
            node.recorder.close()
    return {"wall_s": simulation.wall_s, "cpu_s": simulation.cpu_s}
