"""A node of the placement `simulate`: its state machine, its fit's thread, its turns.

Each fit runs on a thread of its own, but only one thread runs at a time, handed a baton by the
clock, and every global random generator goes with the baton.
"""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import nn

from qsynth.host.artifacts import write_predictor, write_result
from qsynth.host.plan_node import make_node, make_participant
from qsynth.host.recorder import Recorder
from qsynth.identity import Identity
from qsynth.identity.seal import seal
from qsynth.mesh import MemoryNetwork
from qsynth.model import make_network
from qsynth.pipeline.predictor import Predictor
from qsynth.pipeline.publication import Publication
from qsynth.pipeline.teach import Lesson
from qsynth.protocol.effects import Effects
from qsynth.protocol.node import Node
from qsynth.training.checkpoint import load_checkpoint
from qsynth.training.curve_points import keeping
from qsynth.training.fit import fit
from qsynth.training.learner import TrainerLearner
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.training.provenance import note_trained
from qsynth.trust import Admitted
from qsynth.types import NodeId

Watch = Callable[[NodePlan, int, Predictor], None]
EPOCH_S = 1_700_000_000.0  # the virtual clock's 0, so that packets are the same at any date
PERIOD_JITTER = 0.1  # of a period's length: nodes are not in step


class Baton:
    """Let one of two threads run: the clock's or a node's."""

    def __init__(self) -> None:
        self._to_node, self._to_clock = threading.Semaphore(0), threading.Semaphore(0)
        self.generators: tuple[Any, Any, Any] | None = None  # of the node, while the clock runs

    def give(self) -> None:
        """Let the node run until it gives back (called by the clock)."""
        if self.generators is not None:
            torch.set_rng_state(self.generators[0])
            np.random.set_state(self.generators[1])
            random.setstate(self.generators[2])
        self._to_node.release()
        self._to_clock.acquire()

    def give_back(self) -> None:
        """Let the clock run (called by the node)."""
        self.generators = (torch.get_rng_state(), np.random.get_state(), random.getstate())
        self._to_clock.release()

    def wait(self) -> None:
        """Wait for the clock (called by the node)."""
        self._to_node.acquire()


class Handle(pl.Callback):
    """Keep hold of a fit, so that it can be saved while its node waits for the clock.

    saved: the checkpoint to go on from, of a period.
    """

    def __init__(self, saved: Path | None = None, period: int = 0) -> None:
        self.saved, self.period = saved, period
        self.ended = False  # whether only the last exchange is left
        self._trainer: pl.Trainer | None = None
        self._learner: TrainerLearner | None = None

    def of(self, network: pl.LightningModule) -> Path | None:
        """Return the checkpoint that the fit goes on from."""
        return self.saved

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Take hold, before any exchange."""
        self._trainer = trainer
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        self._learner = next(c for c in callbacks if isinstance(c, TrainerLearner))

    def save(self, path: Path) -> None:
        """Write a checkpoint of the fit as it is now."""
        trainer, learner = self._trainer, self._learner
        self.ended = self.ended or (learner is not None and learner.ended)
        if self.saved is not None and (learner is None or learner.period == self.period):
            shutil.copyfile(self.saved, path)  # no step was done since
        else:
            assert trainer is not None
            trainer.save_checkpoint(path)
        seal(path)


class SimulatedNode:
    """A node, its learner's thread, and its place on the clock."""

    def __init__(
        self,
        plan: RunPlan,
        node: NodePlan,
        network: MemoryNetwork,
        wanted: Sequence[NodeId] | None = None,
    ) -> None:
        self.plan, self.node, self.network = plan, node, network
        folder = plan.node_folder(node)
        folder.mkdir(parents=True, exist_ok=True)
        note_trained(plan, node)
        self.recorder = Recorder(node.name, folder / "events.jsonl")
        identity = Identity.seeded(plan.seed, node.name)
        address = f"memory:{node.name}"
        self.machine: Node = make_node(
            plan, node, identity, address, EPOCH_S, rpc_seed=node.seed, wanted=wanted
        )
        self.transport = network.attach(address, self._received)
        self.participant = make_participant(plan, node, self)
        self.watch: Watch | None = None
        self.baton, self.handle = Baton(), Handle()
        self.error: BaseException | None = None
        self.started = self.done = False
        self.period = 0
        self.weight, self.finished_s = 0.0, 0.0
        self._rng = np.random.default_rng([node.seed, 10])
        self._timer: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return what a snapshot keeps; the fit has a checkpoint of its own."""
        kept = {k: v for k, v in vars(self).items() if k not in ("baton", "handle", "watch")}
        ended = self.handle.ended
        return kept | {"generators": self.baton.generators, "ended": ended}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a snapshot has kept; `go_on` starts the fit."""
        self.baton, self.handle, self.watch = Baton(), Handle(), None
        self.baton.generators = state.pop("generators")
        self.handle.ended = state.pop("ended")
        vars(self).update(state)

    def start(self, now: float) -> None:
        """Begin the fit; the first node to start finds nobody to join."""
        self.note([{"event": "started", "id": self.machine.me.hex()}])
        self.started = True
        self._begin(self._fit)
        self._raise_error()
        self._schedule(now)

    def go_on(self, saved: Path) -> None:
        """Bring the fit of a snapshot to where it waited for the clock."""
        note_trained(self.plan, self.node)
        self.recorder.reopen(self.plan.node_folder(self.node) / "events.jsonl")
        if not self.started or self.done:
            return
        generators, ended = self.baton.generators, self.handle.ended
        self.baton.generators = None
        self.handle = Handle(saved, self.period)
        self.handle.ended = ended
        self._begin(self._last if ended else self._fit)
        self.baton.generators = generators

    def join(self, addresses: list[str], now: float) -> None:
        """Join through any of these addresses."""
        self.apply(self.machine.start(now, addresses))

    def end_period(
        self, period: int, publication: Publication | None, same: float
    ) -> Mapping[NodeId, Admitted]:
        """Wait until the virtual clock says that the period is over; then exchange."""
        self.period = period
        if period > 0:
            self.baton.give_back()
            self.baton.wait()
        self.apply(self.machine.end_period(self.network.now, period, publication, same))
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
            self.plan,
            self.node,
            self.machine,
            self.participant,
            self.recorder,
            status="finished",
            head_weight=self.weight,
            finished_s=self.finished_s,
            cpu_s=None,
            memory_mib=None,
            shed=self.transport.shed,
            lingered=True,
        )

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
        self._raise_error()
        self._schedule(now)

    def _raise_error(self) -> None:
        if self.error is not None:
            raise self.error

    def _exchange(self, period: int, network: nn.Module) -> Lesson | None:
        teaching = keeping(self.plan, self.node, self.participant)(period, network)
        if self.watch is not None:
            self.watch(self.node, period, self.participant.predictor(network))
        return teaching

    def _begin(self, learn: Callable[[], pl.LightningModule]) -> None:
        threading.Thread(target=self._run, args=(learn,), name=self.node.name, daemon=True).start()
        self.baton.give()

    def _fit(self) -> pl.LightningModule:
        return fit(self.plan, self.node, self._exchange, self.handle)

    def _last(self) -> pl.LightningModule:
        """Do the exchange that a fit ends with; the fit itself had ended before the snapshot."""
        network = make_network(self.node.model, self.plan.data.task, self.node.name)
        assert self.handle.saved is not None
        network.load_state_dict(load_checkpoint(self.handle.saved)["state_dict"])
        self._exchange(self.period, network)
        return network.eval()

    def _run(self, learn: Callable[[], pl.LightningModule]) -> None:
        self.baton.wait()
        try:
            network = learn()
            self.weight = write_predictor(self.plan, self.node, self.participant, network)
            self.note([{"event": "finished"}])
            self.finished_s = self.network.now
        except BaseException as error:  # handed to the clock's thread, which raises it
            self.error = error
        finally:
            self.done = True
            self.baton.give_back()
