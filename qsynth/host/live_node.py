"""A node with sockets of its own, in the process that holds it: from its first start to its end."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pytorch_lightning import LightningModule

from qsynth.files import write_json
from qsynth.host.artifacts import write_predictor, write_result
from qsynth.host.ledger import NAME as LEDGER
from qsynth.host.ledger import Ledger
from qsynth.host.mesh_host import MeshHost
from qsynth.host.plan_node import make_node, make_participant
from qsynth.host.recorder import Recorder
from qsynth.host.time_slices import ask_long_slices
from qsynth.identity.file import identity_of
from qsynth.process_memory import private_mib, release
from qsynth.protocol.journal import State
from qsynth.protocol.restore import entries_of, restore
from qsynth.training.checkpoint import NEVER, Checkpoints
from qsynth.training.curve_points import keeping
from qsynth.training.fit import fit, quietly
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.training.provenance import note_trained


class HostedNode:
    """A node's identity, memory, sockets and mesh thread.  What it learns comes from outside.

    sockets: folder of ipc sockets.  sharing: nodes of this process, which is what one node's
    share of its CPU time and memory is counted by.
    """

    def __init__(self, plan: RunPlan, node: NodePlan, sockets: Path, sharing: int = 1) -> None:
        self.plan, self.node, self.sharing = plan, node, sharing
        self._began_cpu = time.process_time()
        self.folder = folder = plan.node_folder(node)
        write_json(folder / "pid.json", {"pid": os.getpid()})
        identity, self.state = identity_of(folder), State(folder)
        self.transport = plan.mesh.transport(plan.mesh.of_a_run(str(sockets), node.index))
        self.recorder = Recorder(node.name, folder / "events.jsonl")
        epoch_s = time.time() - time.monotonic()
        self.machine = make_node(plan, node, identity, self.transport.address, epoch_s)
        self.machine.clock(time.monotonic())
        known = restore(self.machine, self.state.load())
        self.state.replace(entries_of(self.machine))
        self.ledger = Ledger(folder / LEDGER)
        self.host = MeshHost(
            self.machine,
            self.transport,
            self.recorder,
            lambda: [*addresses(plan.folder, node.name), *known],
            self.state,
            self.ledger,
        )
        self._finished_s, self._weight = 0.0, 0.0
        self._network: LightningModule | None = None
        self._everyone: bool | None = None

    def start(self) -> None:
        """Tell the others the address, and serve."""
        note_trained(self.plan, self.node)
        part = self.folder / "address.part"
        part.write_text(self.transport.address + "\n")
        os.replace(part, self.folder / "address")
        self.host.note([{"event": "started", "id": self.machine.me.hex()}])
        self.host.start()
        self.participant = make_participant(self.plan, self.node, self.host)

    def trained(self, network: LightningModule) -> None:
        """Write what has been learned: whatever happens later, the training's result stands."""
        self._network = network
        self._weight = write_predictor(self.plan, self.node, self.participant, network)
        self.host.note([{"event": "finished"}])
        self._finished_s = time.time()
        release()
        self._write(None)

    def wait(self) -> None:
        """Serve until all nodes known have finished, within bounds."""
        self._everyone = self.host.finish(self.plan.mesh.linger_s)

    def leave(self) -> None:
        """Learn from what has arrived since the training's end; then end."""
        self._learn_late()
        self.host.close()
        self.ledger.close()
        self.state.close()
        self._write(self._everyone)
        self.recorder.close()

    def _learn_late(self) -> None:
        """Answer with the newest packets: a fast node has trained before others have published."""
        if self._network is None or self.host.error:
            return
        before = self.participant.synthesis
        self.participant.exchange(self.plan.trainer.periods, self._network)
        if self.participant.synthesis is not before:
            self._weight = write_predictor(self.plan, self.node, self.participant, self._network)

    def _write(self, everyone: bool | None) -> None:
        cpu_s = (time.process_time() - self._began_cpu) / self.sharing
        with self.host.paused():  # the mesh thread would change what is being counted
            write_result(
                self.plan,
                self.node,
                self.machine,
                self.participant,
                self.recorder,
                status="failed" if self.host.error else "finished",
                error=self.host.error,
                head_weight=self._weight,
                finished_s=self._finished_s,
                lingered=everyone,
                shed=self.transport.shed,
                cpu_s=cpu_s,
                memory_mib=private_mib() / self.sharing,
            )


def run_node(plan: RunPlan, node: NodePlan, sockets: Path) -> None:
    """Be one node from start to end, in this process."""
    hosted = HostedNode(plan, node, sockets)
    hosted.start()
    ask_long_slices()
    participant = hosted.participant
    checkpoints = Checkpoints(hosted.folder / "fit.ckpt", plan.trainer.checkpoint_s, NEVER)
    network = quietly(partial(fit, plan, node, keeping(plan, node, participant), checkpoints))
    if participant.synthesis is None:  # the fit had ended in an earlier life
        participant.exchange(plan.trainer.periods, network)
    hosted.trained(network)
    hosted.wait()
    hosted.leave()


def addresses(run: Path, me: str) -> Sequence[str]:
    """Return the addresses that other nodes of a run have written, in a shuffled order."""
    found = []
    for path in (run / "nodes").glob("*/address"):
        if path.parent.name != me:
            try:
                found.append(path.read_text().strip())
            except OSError:
                continue  # a node that is being cleared away
    random.shuffle(found)
    return found
