"""One node on one host trains, then goes on learning; its mesh side serves already."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from qsynth.errors import ConfigError, StateError, printable
from qsynth.host.artifacts import write_predictor, write_result
from qsynth.host.forget import BEFORE, SCRATCH, note_used, used_authors
from qsynth.host.plan_node import make_participant
from qsynth.host.server import Card, Serving
from qsynth.pipeline.teach import Lesson
from qsynth.process_memory import private_mib
from qsynth.protocol.node import Node
from qsynth.training.checkpoint import Checkpoints, StoppedError
from qsynth.training.fit import check_checkpoint, fit, quietly, single_threaded
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.training.provenance import note_trained

REFUSED_S = 15.0  # in which a node may still find somebody who takes it in
SERVING_PERIOD_S = 2.0  # of a node that has trained


def card_of(plan: RunPlan, node: NodePlan, made_from: bytes) -> Card:
    """Return what the mesh side of a node needs to know of its data."""
    digest = plan.data.digest()
    return Card(made_from, node.name, node.seed, plan.data.task, plan.encoder.digest, digest)


def check_card(card: Card, kept: Card) -> None:
    """Raise StateError where a node has begun to serve as another than its data say."""
    if card != (kept if kept.data else replace(kept, data=card.data)):
        raise StateError(
            "its data, task or encoder differ from those of its earlier life; use another --home"
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


def run_one(plan: RunPlan, node: NodePlan, serving: Serving) -> None:
    """Train and go on learning until a signal ends it; go on where it was killed."""
    single_threaded()
    try:
        _learn(plan, node, serving)
    except (StoppedError, SIGTERMException):
        pass  # all is saved


def _keep_before(home: Path, checkpoints: Checkpoints, period: int) -> None:
    """Keep the training as it was before any author counted, to go back to (`node forget`)."""
    if (home / BEFORE).exists() or (home / SCRATCH).exists() or used_authors(home):
        return  # kept before, or too late: an earlier life has been taught
    if period == 0:
        (home / SCRATCH).touch()  # nothing had been trained
    else:
        checkpoints.save_before(home / BEFORE)


def _learn(plan: RunPlan, node: NodePlan, serving: Serving) -> None:
    """Train; then go on learning from others, a period every so often, until asked to end."""
    host, tell = serving.host, serving.tell
    note_trained(plan, node)
    began_cpu = time.process_time()
    participant = make_participant(plan, node, host)
    every_s = plan.trainer.checkpoint_s
    checkpoints = Checkpoints(plan.folder / "checkpoint.ckpt", every_s, serving.stop)
    if checkpoints.path.exists():
        check_checkpoint(plan, node, checkpoints.path)
        tell(f"training goes on from {checkpoints.path}")

    def exchange(period: int, network: nn.Module) -> Lesson | None:
        clean = not participant.used
        teaching = participant.exchange(period, network)
        if clean and participant.used:
            _keep_before(plan.folder, checkpoints, period)
        note_used(plan.folder, participant.used)
        return teaching

    began = time.monotonic()
    network = quietly(partial(fit, plan, node, exchange, checkpoints))
    period = plan.trainer.periods
    shown, trained = None, False
    while not serving.stop.is_set():
        host.check()
        if trained or participant.synthesis is None:
            participant.exchange(period, network)  # also where the fit had ended before
            note_used(plan.folder, participant.used)
        if participant.synthesis is not shown:
            shown = participant.synthesis
            weight = write_predictor(plan, node, participant, network)
            with host.paused():
                write_result(
                    plan,
                    node,
                    host.node,
                    participant,
                    host.recorder,
                    status="serving",
                    error=host.error,
                    head_weight=weight,
                    finished_s=time.time(),
                    lingered=None,
                    shed=host.transport.shed,
                    cpu_s=time.process_time() - began_cpu,
                    memory_mib=private_mib(),
                )
        if not trained:
            host.note([{"event": "finished"}])
            tell(
                f"trained; its predictor is {plan.node_folder(node) / 'predictor.pt'}; it goes on "
                "learning from others"
            )
        trained = True
        if time.monotonic() - began > REFUSED_S:
            check_agreed(host.node)
        serving.stop.wait(SERVING_PERIOD_S)
