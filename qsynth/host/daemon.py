"""One node on one host trains, then goes on learning; its mesh side serves already."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from qsynth.errors import ConfigError, DataError, StateError, printable
from qsynth.host.artifacts import write_predictor, write_result
from qsynth.host.forget import (
    BEFORE,
    CHECKPOINT,
    SCRATCH,
    copy_sealed,
    drop,
    later_checkpoint,
    note_used,
    used_authors,
)
from qsynth.host.plan_node import make_participant, make_pipeline
from qsynth.host.server import Card, Serving
from qsynth.pipeline.teach import Lesson
from qsynth.process_memory import private_mib
from qsynth.protocol.node import Node
from qsynth.synthesis import Synthesis
from qsynth.training.checkpoint import Checkpoints, StoppedError
from qsynth.training.fit import check_checkpoint, fit, quietly, single_threaded
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.training.provenance import note_trained
from qsynth.types import config_digest

REFUSED_S = 15.0  # in which a node may still find somebody who takes it in
SERVING_PERIOD_S = 2.0  # of a node that has trained


def card_of(plan: RunPlan, node: NodePlan, made_from: bytes, origin: bytes | None = None) -> Card:
    """Return what the mesh side of a node needs to know of its data.

    origin: what stands for data that grow; None: for all of them.
    """
    digest = plan.data.digest() if origin is None else origin
    # Of a node whose data grow its history knows which it trains on.
    rows = b"" if origin is not None else config_digest(node.share.train.tolist())
    task, encoder = plan.data.task, plan.encoder.digest
    return Card(made_from, node.name, node.seed, task, encoder, digest, rows)


def check_card(card: Card, kept: Card) -> None:
    """Raise StateError where a node would go on as another than it was: with other samples, too.

    kept: of an earlier life, whatever its settings were.  Two exact packets of one node, made of
    nearly the same samples, would tell of the difference.
    """
    known = replace(kept, made_from=card.made_from, seed=card.seed)
    known = replace(known, data=known.data or card.data, trained=known.trained or card.trained)
    if card != known:
        raise StateError(
            "its data, task, encoder, or which samples it trains on differ from those of its "
            "earlier life; use another --home"
        )


def check_agreed(node: Node) -> None:
    """Raise ConfigError where whoever a node could reach refuses its task: it would stay alone."""
    reason = node.refusal
    if node.table.contacts or not reason.startswith(("task:", "encoder:")):
        return
    raise ConfigError(
        f"nobody takes it into the mesh: {printable(reason)}; all sites need one task: qsynth task "
        "merge makes it, and qsynth task check TASK.yaml FILE says whether the data fit"
    )


class Growing(Protocol):
    """Data that grow.  every_s: seconds between two looks.  steps: of the network after each."""

    every_s: float
    steps: int

    def grown(self) -> RunPlan | None:
        """Return the plan with the rows that have come; None where too few have."""


def run_one(plan: RunPlan, node: NodePlan, serving: Serving, growing: Growing | None) -> None:
    """Train and go on learning until a signal ends it; go on where it was killed.

    growing: the node's data, where rows come; None: they do not.
    """
    single_threaded()
    try:
        Duty(plan, node, serving, growing).learn()
    except (StoppedError, SIGTERMException):
        pass  # all is saved


def _keep_before(home: Path, checkpoints: Checkpoints, period: int, begin: Path | None) -> None:
    """Keep the training as it was before any author counted, to go back to (`node forget`).

    begin: the checkpoint whose weights this fit began with.
    """
    if (home / BEFORE).exists() or (home / SCRATCH).exists() or used_authors(home):
        return  # kept before, or too late: an earlier life has been taught
    if period == 0 and begin is not None:
        copy_sealed(begin, home / BEFORE)
    elif period == 0:
        (home / SCRATCH).touch()  # nothing had been trained
    else:
        checkpoints.save_before(home / BEFORE)


class Duty:
    """A node on duty: it trains, and goes on learning from others and from rows that come."""

    def __init__(
        self, plan: RunPlan, node: NodePlan, serving: Serving, growing: Growing | None
    ) -> None:
        self.plan, self.node, self.serving, self.growing = plan, node, serving, growing
        self.host, self.tell = serving.host, serving.tell
        self.began_s, self.began_cpu = time.monotonic(), time.process_time()
        self.participant = make_participant(plan, node, self.host)
        self.shown: Synthesis | None = None
        serving.learning.tell(state="training")
        self.looked_s = self.began_s
        self.gain = 0.0
        self.waiting = ""  # why rows cannot be taken, as it was told

    def learn(self) -> None:
        """Train; then go on learning, a period every so often, until asked to end."""
        note_trained(self.plan, self.node)
        network, trained = self._trained(), False
        while not self.serving.stop.is_set():
            self.host.check()
            if trained or self.participant.synthesis is None:
                # Also where the fit had ended before.
                self._exchange(self.plan.trainer.periods, network)
                note_used(self.plan.folder, self.participant.used)
            self._write(network)
            if not trained:
                self.host.note([{"event": "finished"}])
                self.tell(
                    f"trained; its predictor is {self._folder / 'predictor.pt'}; it goes on "
                    f"learning from others{', and from rows that are added' * bool(self.growing)}"
                )
            trained = True
            self.serving.learning.tell(state="serving")
            if time.monotonic() - self.began_s > REFUSED_S:
                check_agreed(self.host.node)
            growing = self.growing
            if growing is not None and time.monotonic() - self.looked_s >= growing.every_s:
                self.looked_s = time.monotonic()
                network = self._grow(growing) or network
            self.serving.stop.wait(SERVING_PERIOD_S)

    @property
    def _folder(self) -> Path:
        return self.plan.node_folder(self.node)

    def _grow(self, growing: Growing) -> LightningModule | None:
        """Take rows that have come, and train on with them; None where there are none."""
        try:
            plan = growing.grown()
        except (DataError, StateError) as error:
            # Whoever writes the file may mend it: the node goes on with what it has.
            if str(error) != self.waiting:
                self.waiting = str(error)
                self.serving.warn(f"takes no rows: {error}")
            return None
        self.waiting = ""
        if plan is None:
            return None
        node = plan.nodes[self.node.index]
        ends = node.share.ends
        self.plan, self.node = plan, node
        self.host.note([{"event": "grown", "batches": len(ends), "samples": ends[-1]}])
        self.tell(f"took {ends[-1] - ends[-2]} more training rows, {ends[-1]} in all; learns on")
        self.serving.learning.tell(state="training")
        note_trained(plan, node)
        self.participant.change(make_pipeline(plan, node))
        return self._trained()

    def _trained(self) -> LightningModule:
        """Return the network, trained on all rows so far; go on where it was killed."""
        batches = max(len(self.node.share.ends), 1)
        checkpoints = self._checkpoints(batches)
        if checkpoints.path.exists():
            check_checkpoint(self.plan, self.node, checkpoints.path)
            if batches == 1:
                self.tell(f"training goes on from {checkpoints.path}")
        before = [self._checkpoints(count).path for count in range(1, batches)]
        begin = next((path for path in reversed(before) if path.exists()), None)
        plan = self.plan
        if begin is not None and self.growing is not None:
            plan = replace(plan, trainer=replace(plan.trainer, max_steps=self.growing.steps))

        def exchange(period: int, network: nn.Module) -> Lesson | None:
            clean = not self.participant.used
            teaching = self._exchange(period, network)
            if clean and self.participant.used:
                _keep_before(self.plan.folder, checkpoints, period, begin)
            note_used(self.plan.folder, self.participant.used)
            return teaching

        network = quietly(partial(fit, plan, self.node, exchange, checkpoints, begin))
        for count in range(2, batches):
            drop(self._checkpoints(count).path)
        return network

    def _exchange(self, period: int, network: nn.Module) -> Lesson | None:
        """Exchange with the mesh, and tell whoever watches how it is going."""
        participant, before = self.participant, self.participant.synthesis
        teaching = participant.exchange(period, network)
        made = participant.synthesized()
        if made is not before:
            self.gain = made.likelihood - participant.pipeline.alone().likelihood
        self.serving.learning.exchanged(period, participant, self.gain)
        return teaching

    def _checkpoints(self, batches: int) -> Checkpoints:
        """Return the checkpoints of the fit after so many batches."""
        name = CHECKPOINT if batches == 1 else later_checkpoint(batches)
        every_s = self.plan.trainer.checkpoint_s
        return Checkpoints(self.plan.folder / name, every_s, self.serving.stop)

    def _write(self, network: LightningModule) -> None:
        """Write predictor and result, where there is a new synthesis."""
        if self.participant.synthesis is self.shown:
            return
        self.shown = self.participant.synthesis
        weight = write_predictor(self.plan, self.node, self.participant, network)
        host = self.host
        with host.paused():
            write_result(
                self.plan,
                self.node,
                host.node,
                self.participant,
                host.recorder,
                status="serving",
                error=host.error,
                head_weight=weight,
                finished_s=time.time(),
                lingered=None,
                shed=host.transport.shed,
                cpu_s=time.process_time() - self.began_cpu,
                memory_mib=private_mib(),
            )
