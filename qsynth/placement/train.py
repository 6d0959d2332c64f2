"""Train one node of a plan: by a stock Lightning Trainer, or by a loop that does the same."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.loggers import Logger
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import TensorDataset

from qsynth.attack.adaptive import Rehearsal
from qsynth.attack.forge import AttackingPort, Forger
from qsynth.attack.peer import misbehave
from qsynth.distill import distil, payload_statistics, statistics_rule
from qsynth.distill.config import Analytic
from qsynth.errors import ConfigError
from qsynth.identity import Identity
from qsynth.model import make_network
from qsynth.model.classifier import Classifier
from qsynth.model.config import Module
from qsynth.node import target_study
from qsynth.node.assemble import assemble
from qsynth.node.consent import Consent
from qsynth.node.learner import Exchange, TrainerLearner
from qsynth.node.node import Node
from qsynth.node.participant import Participant, Port
from qsynth.node.study import Study
from qsynth.node.target_study import TargetStudy
from qsynth.packet import Payload
from qsynth.placement.loader import ResumableLoader
from qsynth.placement.loggers import make_logger
from qsynth.placement.loop import Loop, of_a_loop
from qsynth.placement.plan import NodePlan, Plan
from qsynth.similarity import fingerprint
from qsynth.synthesis.config import AnalyticHead
from qsynth.synthesis.teach import Lesson
from qsynth.types import Fingerprint, Floats32, Ints, NodeId

Result = TypeVar("Result")
PR_SET_PDEATHSIG = 1  # of prctl(2)

# What every Trainer of ours is made with: one long fit of one node, in silence.
ALONE: dict[str, Any] = {
    "max_epochs": -1,
    "devices": 1,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    # A node trains alone, whatever scheduler has placed its process.
    "plugins": [LightningEnvironment()],
}
LEAST = {"accumulate_grad_batches": 1, "limit_train_batches": 0.01}  # else nothing is trained
# Lightning's advice that does not apply to nodes that share two cores.
ADVICE: tuple[str, ...] = (
    ".*does not have many workers.*",
    ".*number of training batches.*",
    ".*treespec, LeafSpec.*",
    ".*`srun` command is available.*",  # on a login node of a cluster
)


def single_threaded() -> None:
    """Give this process one compute thread: nodes share cores, and bits stay the same."""
    torch.set_num_threads(1)
    threadpool_limits(limits=1)


def begin_worker() -> None:
    """Begin a forked worker: one compute thread, and no life of its own after its parent's."""
    single_threaded()
    parent = parent_process()
    if parent is not None and parent.pid is not None:
        die_with_parent(parent.pid)


def die_with_parent(parent: int) -> None:
    """End this process when the one that has started it ends, however that ends (Linux alone)."""
    if sys.platform == "linux":
        # Nobody reads what it would go on for.  Lightning would catch a SIGTERM.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it had died before


def make_study(plan: Plan, node: NodePlan) -> Study | TargetStudy:
    """Return what a node does with its own data."""
    return target_study.make_study(
        plan.data.task, plan.encoder, plan.rules, plan.samples(node), node.seed
    )


def make_participant(plan: Plan, node: NodePlan, port: Port) -> Participant:
    """Return a node's learning, which drifts when the plan says so."""
    study = make_study(plan, node)
    if node.attack is not None and isinstance(study, Study):
        port = AttackingPort(port, _forger(plan, node))
    # `node up` has a home of its own, and that is its plan's folder.
    consent = Consent(plan.publish, plan.folder)
    return Participant(study, port, partial(_drifted, plan, node), node.silent, consent.permits)


def _drifted(plan: Plan, node: NodePlan, period: int) -> Study | TargetStudy | None:
    """Return the study of what a node has after it has drifted, from the period of its drift on.

    A node that goes on from a checkpoint may begin with a later one.
    """
    later, since = node.later, plan.drift_period
    return make_study(plan, later) if later and since is not None and period >= since else None


def _forger(plan: Plan, node: NodePlan) -> Forger:
    """Return what forges a node's outcomes: it knows what a victim publishes, as all may."""
    honest = next(other for other in plan.nodes if other.share.honest)
    first = next(other for other in plan.nodes if other.attack is not None)
    metric, told = plan.rules.similarity, make_study(plan, honest).distil()
    sketched = getattr(metric, "sketch_d", 0)
    return Forger(
        node.attack, partial(_sketch, metric), told, make_study(plan, first).distil(), sketched,
        node.seed, partial(_rehearsal, plan, node, sketched),
    )  # fmt: skip


def _rehearsal(plan: Plan, node: NodePlan, sketched: int) -> Rehearsal:
    """Return what an attacker tries lies on: itself, and the honest packets that are most alike."""
    study = make_study(plan, node)
    assert isinstance(study, Study)
    assert isinstance(plan.rules.synthesis, AnalyticHead)
    own = study.distil().fingerprint
    published = [make_study(plan, each).distil() for each in plan.nodes if each.share.honest]
    published.sort(key=lambda outcome: -study.alike(own, outcome.fingerprint))
    victim, *others = (payload_statistics(outcome.payload) for outcome in published[:3])
    bare = replace(statistics_rule(plan.rules.distill), input_rank=0)
    code = partial(_coded, bare, victim.dimensions, plan.data.task.classes)
    return Rehearsal(
        plan.rules.synthesis, victim, others, study.own.features, study.own.labels, code,
        payload_statistics, sketched,
    )  # fmt: skip


def _coded(rule: Analytic, d: int, classes: int, features: Floats32, labels: Ints) -> Payload:
    return distil(rule, d, features, None, labels, classes)


def _sketch(metric: Any, payload: Payload) -> tuple[Fingerprint, int]:
    said = payload_statistics(payload)
    return fingerprint(metric, said.counts, said.sums), int(said.counts.sum())


def make_node(
    plan: Plan, node: NodePlan, identity: Identity, address: str, epoch_s: float,
    rpc_seed: int | None = None, wanted: Sequence[NodeId] | None = None,
) -> Node:  # fmt: skip
    """Return a node's state machine.

    wanted: the authors that `peers` oracle and central name, in simulations.
    """
    made = assemble(
        plan.data.task, plan.encoder.digest, plan.rules, trust=plan.trust, peers=plan.peers,
        dht=plan.dht, mesh=plan.mesh, identity=identity, address=address, epoch_s=epoch_s,
        seed=node.seed, rpc_seed=rpc_seed, wanted=wanted,
    )  # fmt: skip
    if node.attack is not None and not node.silent:
        misbehave(made, node.attack, partial(_forger, plan, node), node.seed)
    return made


def no_exchange(_period: int, _network: nn.Module) -> None:
    """Do nothing at a period's end: the plain network."""


def seed_node(seed: int) -> None:
    """Seed every global generator that a network or a user's module may draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


class Keeper(Protocol):
    """A callback that knows the checkpoint which a fit goes on from, if there is one."""

    def of(self, network: pl.LightningModule) -> Path | None:
        """Return its path."""


def fit(
    plan: Plan, node: NodePlan, exchange: Exchange, keeper: Keeper | None = None
) -> pl.LightningModule:
    """Return a node's network after one long fit that calls `exchange` at every period's end."""
    seed_node(node.seed)
    network = make_network(node.model, plan.data.task, f"fleet.{node.name}.model")
    samples = plan.samples(node)
    tensors = torch.tensor(samples.train_x), torch.tensor(samples.train_y)
    size = min(plan.batch_size, len(samples.train_y))
    loader = ResumableLoader(TensorDataset(*tensors), size, node.seed)
    later = node.later
    drifted = False

    def drifting(period: int, network: nn.Module) -> Lesson | None:
        nonlocal drifted
        due = plan.drift_period is not None and period >= plan.drift_period
        if later is not None and due and not drifted:
            # In place: the one long fit goes on with the new samples.
            after, drifted = plan.samples(later), True
            tensors[0][:] = torch.from_numpy(after.train_x[: len(tensors[0])])
            tensors[1][:] = torch.from_numpy(after.train_y[: len(tensors[1])])
        return exchange(period, network)

    logger = make_logger(plan.trainer.logger, plan.node_folder(node))

    def logged(period: int, network: nn.Module) -> Lesson | None:
        teaching = drifting(period, network)
        if isinstance(logger, Logger):
            logger.log_metrics({"period": float(period)}, period * plan.trainer.period_steps)
        return teaching

    learner = TrainerLearner(plan.trainer.period_steps, logged, node.seed)
    saved = keeper.of(network) if keeper else None
    keepers: list[pl.Callback] = [keeper] if isinstance(keeper, pl.Callback) else []
    if why_a_trainer(plan, node) is None and isinstance(network, Classifier):
        steps, clip = plan.trainer.max_steps, plan.trainer.gradient_clip_norm
        Loop(steps, clip, [learner, *keepers]).fit(network, loader, saved)
        return network.eval()
    check_checkpoint(plan, node, saved)
    trainer = make_trainer(plan, logger, learner, *keepers)
    trainer.fit(network, loader, ckpt_path=saved)
    return network.eval()


def check_checkpoint(plan: Plan, node: NodePlan, saved: Path | None) -> None:
    """Raise ConfigError where a Trainer is to go on from what a loop has left.

    And UntrustedError where it holds code without a seal: the Trainer itself would unpickle it.
    """
    key = why_a_trainer(plan, node)
    if saved is None or not of_a_loop(saved) or key in (None, "model=module"):
        return
    value = getattr(plan.trainer, key.removeprefix("trainer."))
    raise ConfigError(
        f"{key}={value}: {saved} was trained without it; take it back, or move that file away to "
        "train anew"
    )


def why_a_trainer(plan: Plan, node: NodePlan) -> str | None:
    """Return the setting that asks for a Trainer; None where a loop does the same."""
    if isinstance(node.model, Module):
        return "model=module"
    if plan.trainer.arguments:
        return "trainer.arguments"
    if plan.trainer.accelerator != "cpu":
        return "trainer.accelerator"
    return "trainer.logger" if plan.trainer.logger != "none" else None


def make_trainer(plan: Plan, logger: Logger | bool, *callbacks: pl.Callback) -> pl.Trainer:
    """Return a stock Trainer with callbacks of ours."""
    settings = {
        "max_steps": plan.trainer.max_steps,
        "gradient_clip_val": plan.trainer.gradient_clip_norm,
        "accelerator": plan.trainer.accelerator,
        "logger": logger,
    }
    return pl.Trainer(callbacks=list(callbacks), **(ALONE | settings | plan.trainer.arguments))


def check_arguments(arguments: dict[str, Any]) -> None:
    """Raise ConfigError where Lightning makes no Trainer with these arguments, or an idle one."""
    for key, least in LEAST.items():
        value = arguments.get(key, least)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
            raise ConfigError(f"trainer.arguments.{key}={value}: must be {least} or more")
    try:
        quietly(lambda: pl.Trainer(**(ALONE | {"accelerator": "cpu", "logger": False} | arguments)))
    except Exception as error:  # whatever Lightning and its plugins say
        first = next(iter(str(error).splitlines()), type(error).__name__)
        shown = ", ".join(f"trainer.arguments.{key}={value}" for key, value in arguments.items())
        raise ConfigError(f"{shown}: {first}") from None


def quietly(call: Callable[[], Result]) -> Result:
    """Return what a call gives, with Lightning's banners and inapplicable advice left out."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in ADVICE:
                warnings.filterwarnings("ignore", message=message)
            return call()
    finally:
        logger.setLevel(level)
