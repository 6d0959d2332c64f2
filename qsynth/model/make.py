"""Build a node's network from its config, and check that it gives logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from qsynth.errors import ConfigError
from qsynth.model.base import ModelOption
from qsynth.model.options import OPTIONS
from qsynth.model.outputs import fitted
from qsynth.schema import choose
from qsynth.types import Task


def make_network(
    config: ModelOption | Mapping[str, Any], task: Task, path: str = "model"
) -> pl.LightningModule:
    """Return the LightningModule that a `model` config names.

    config: an option of the group `model`, or the mapping of one.
    Raises ConfigError where the task's layout or the user's class does not fit.
    """
    if isinstance(config, Mapping):
        config = choose(OPTIONS, config, path)
    return config.made(task, path)


def check_network(network: nn.Module, task: Task, path: str = "model") -> None:
    """Raise ConfigError unless forward(x) of one input gives (1, C) logits."""
    was_training = network.training
    try:
        with torch.no_grad():
            inputs = torch.full((1, *task.shape), float(task.low))
            logits = network.eval()(fitted(network, inputs))
    except Exception as error:  # the user's own code may raise anything
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"{path}: forward(x) of x {(1, *task.shape)} fails: {first}") from None
    finally:
        network.train(was_training)
    shape = tuple(getattr(logits, "shape", ()))
    if shape != (1, task.classes):
        asked = "single-label classification needs logits"
        if not task.classified:
            asked = f"a task of {task.kind} needs outputs"
        raise ConfigError(
            f"{path}: {asked} of shape (n, {task.classes}), "
            f"forward(x) gave {shape or type(logits).__name__}"
        )
