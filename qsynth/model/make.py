"""Build a node's network from its config, and check that it gives logits."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from qsynth.errors import ConfigError
from qsynth.model import classifier
from qsynth.model.config import CNN, MLP, OPTIONS, Linear, Module, ResNet
from qsynth.model.outputs import fitted
from qsynth.schema import choose, load_target
from qsynth.types import Task


def make_network(config: Any, task: Task, path: str = "model") -> pl.LightningModule:
    """Return the LightningModule that a `model` config names.

    config: one of the dataclasses of `qsynth.model.config`, or the mapping of one.
    Raises ConfigError where the task's layout or the user's class does not fit.
    """
    if isinstance(config, Mapping):
        config = choose(OPTIONS, config, path)
    if isinstance(config, Module):
        return _own(config, task, path)
    if task.layout == "tokens":
        raise ConfigError(
            f"{path}.name={config.name}: needs numbers, the task has layout tokens; "
            "use model=module"
        )
    if isinstance(config, (CNN, ResNet)) and task.layout != "image":
        raise ConfigError(f"{path}.name={config.name}: needs images, got {task.layout} inputs")
    if isinstance(config, ResNet) and config.width % config.groups:
        raise ConfigError(f"{path}.groups={config.groups}: must divide width {config.width}")
    network = {
        Linear: lambda: classifier.linear(task),
        MLP: lambda: classifier.mlp(config, task),
        CNN: lambda: classifier.cnn(config, task),
        ResNet: lambda: classifier.resnet(config, task),
    }[type(config)]()
    return classifier.Classifier(network, task, config)


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


def _own(config: Module, task: Task, path: str) -> pl.LightningModule:
    made = load_target(f"{path}.target", config.target)
    if not (isinstance(made, type) and issubclass(made, pl.LightningModule)):
        raise ConfigError(f"{path}.target={config.target}: must be a LightningModule")
    try:
        network = made(**config.arguments)
    except TypeError as error:
        raise ConfigError(f"{path}.arguments: {error}") from None
    except Exception as error:  # the user's own code may raise anything
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.filename}:{last.lineno}"
        raise ConfigError(f"{path}.target={config.target}: {error!r} ({where})") from None
    check_network(network, task, path)
    return network
