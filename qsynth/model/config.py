"""The options of the group `model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsynth.schema import option, setting

SCHEDULES = ("constant", "cosine")
AUGMENT = ("none", "shift", "shift_flip")


@option("model")
@dataclass(frozen=True)
class Linear:
    """Multinomial logistic regression on flattened inputs."""

    name: str = setting("linear", "the option's name", choices=("linear",))
    learning_rate: float = setting(1e-3, "of Adam", low=0.0)
    weight_decay: float = setting(0.0, "of AdamW", low=0.0)
    schedule: str = setting("constant", "of the learning rate over all steps", choices=SCHEDULES)
    augment: str = setting("none", "of own training images", choices=AUGMENT)


@option("model")
@dataclass(frozen=True)
class MLP:
    """Fully connected layers with ReLU on flattened inputs."""

    name: str = setting("mlp", "the option's name", choices=("mlp",))
    width: int = setting(64, "units of a hidden layer", low=1, high=65536)
    depth: int = setting(1, "hidden layers", low=1, high=64)
    dropout: float = setting(0.0, "share of units left out", low=0.0, high=0.95)
    learning_rate: float = setting(1e-3, "of Adam", low=0.0)
    weight_decay: float = setting(0.0, "of AdamW", low=0.0)
    schedule: str = setting("constant", "of the learning rate over all steps", choices=SCHEDULES)
    augment: str = setting("none", "of own training images", choices=AUGMENT)


@option("model")
@dataclass(frozen=True)
class CNN:
    """Convolutions with ReLU, halving the side at every stage, then global averages."""

    name: str = setting("cnn", "the option's name", choices=("cnn",))
    width: int = setting(16, "channels of the first stage; each later one has twice as many", low=1)
    depth: int = setting(2, "stages", low=1, high=6)
    learning_rate: float = setting(1e-3, "of Adam", low=0.0)
    weight_decay: float = setting(0.0, "of AdamW", low=0.0)
    schedule: str = setting("constant", "of the learning rate over all steps", choices=SCHEDULES)
    augment: str = setting("none", "of own training images", choices=AUGMENT)


@option("model")
@dataclass(frozen=True)
class ResNet:
    """A small residual network with GroupNorm."""

    name: str = setting("resnet", "the option's name", choices=("resnet",))
    width: int = setting(16, "channels of the first stage; each later one has twice as many", low=4)
    depth: int = setting(2, "stages of one residual block", low=1, high=6)
    groups: int = setting(4, "of GroupNorm; must divide width", low=1)
    learning_rate: float = setting(1e-3, "of Adam", low=0.0)
    weight_decay: float = setting(0.0, "of AdamW", low=0.0)
    schedule: str = setting("constant", "of the learning rate over all steps", choices=SCHEDULES)
    augment: str = setting("none", "of own training images", choices=AUGMENT)


@option("model")
@dataclass(frozen=True)
class Module:
    """The user's own LightningModule whose forward(x) gives logits."""

    name: str = setting("module", "the option's name", choices=("module",))
    target: str = setting("", "package.Class of a LightningModule")
    arguments: dict[str, Any] = setting({}, "its keyword arguments")


OPTIONS: dict[str, type] = {
    "linear": Linear,
    "mlp": MLP,
    "cnn": CNN,
    "resnet": ResNet,
    "module": Module,
}
