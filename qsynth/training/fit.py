"""Train one node of a plan: by a stock Lightning Trainer, or by a loop that does the same."""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
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

from qsynth.errors import ConfigError
from qsynth.model import make_network
from qsynth.model.classifier import Classifier
from qsynth.pipeline.teach import Lesson
from qsynth.training.checkpoint import load_checkpoint
from qsynth.training.learner import Exchange, TrainerLearner
from qsynth.training.loader import ResumableLoader
from qsynth.training.loggers import make_logger
from qsynth.training.loop import Loop, of_a_loop
from qsynth.training.plan import NodePlan, RunPlan

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
    plan: RunPlan,
    node: NodePlan,
    exchange: Exchange,
    keeper: Keeper | None = None,
    begin: Path | None = None,
) -> pl.LightningModule:
    """Return a node's network after one long fit that calls `exchange` at every period's end.

    begin: a checkpoint whose weights it begins with; None: with new ones.
    """
    seed_node(node.seed)
    network = make_network(node.model, plan.data.task, f"fleet.{node.name}.model")
    if begin is not None:
        network.load_state_dict(load_checkpoint(begin)["state_dict"])
    tensors = training_tensors(plan, plan.at(node, 0))
    size = min(plan.batch_size, len(tensors[1]))
    loader = ResumableLoader(TensorDataset(*tensors), size, node.seed)
    stage = 0

    def changing(period: int, network: nn.Module) -> Lesson | None:
        nonlocal stage
        now = plan.stage(node, period)
        if now != stage:  # the one long fit goes on with other samples
            stage = now
            loader.replace(*training_tensors(plan, plan.at(node, period)))
        return exchange(period, network)

    logger = make_logger(plan.trainer.logger, plan.node_folder(node))

    def logged(period: int, network: nn.Module) -> Lesson | None:
        teaching = changing(period, network)
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


def training_tensors(plan: RunPlan, node: NodePlan) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (n, ...) inputs and targets that a node trains on."""
    samples = plan.samples(node)
    return torch.tensor(samples.train_x), torch.tensor(samples.train_y)


def check_checkpoint(plan: RunPlan, node: NodePlan, saved: Path | None) -> None:
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


def why_a_trainer(plan: RunPlan, node: NodePlan) -> str | None:
    """Return the setting that asks for a Trainer; None where a loop does the same."""
    if not node.model.looped:
        return f"model={node.model.name}"
    if plan.trainer.arguments:
        return "trainer.arguments"
    if plan.trainer.accelerator != "cpu":
        return "trainer.accelerator"
    return "trainer.logger" if plan.trainer.logger != "none" else None


def make_trainer(plan: RunPlan, logger: Logger | bool, *callbacks: pl.Callback) -> pl.Trainer:
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
