"""What every kind of network has, and what code asks of its option.  No torch is needed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from qsynth.errors import ConfigError
from qsynth.lazy import load
from qsynth.schema import option, setting
from qsynth.types import Task

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule
    from torch import nn

SCHEDULES = ("constant", "cosine")
AUGMENT = ("none", "shift", "shift_flip")
KERNEL = 9  # weights of a 3x3 filter


class ModelOption(Protocol):
    """What an option of the group `model` is, one that a package brings as well."""

    @property
    def name(self) -> str:
        """Return the option's name."""

    @property
    def kind(self) -> str:
        """Return a word that tells this architecture from others."""

    @property
    def own(self) -> bool:
        """Return whether this is the user's code, which a predictor's file never names."""

    @property
    def looped(self) -> bool:
        """Return whether a loop of ours may train it instead of a Trainer."""

    def one_by_one(self, layout: str) -> str | None:
        """Return the setting that keeps it from training in one computation with others.

        layout: of the task's inputs.
        """

    def check_at(self, path: str) -> None:
        """Raise ConfigError where its settings do not fit together.  path: of the model."""

    def made(self, task: Task, path: str) -> LightningModule:
        """Return the network.  Raises ConfigError where it does not fit the task."""

    def size(self, shape: tuple[int, ...], outputs: int) -> tuple[int, int] | None:
        """Return parameters, and multiplications of one forward pass; None where none can tell.

        shape: of one input.  outputs: of the last layer.
        """


@option("model")
@dataclass(frozen=True)
class Trained:
    """What the bundled networks share: how they are trained."""

    name: str = setting("", "the option's name")
    learning_rate: float = setting(1e-3, "of Adam", low=0.0)
    weight_decay: float = setting(0.0, "of AdamW", low=0.0)
    schedule: str = setting("constant", "of the learning rate over all steps", choices=SCHEDULES)
    augment: str = setting("none", "of own training images", choices=AUGMENT)

    own = False
    looped = True

    @property
    def kind(self) -> str:
        """Return the option's name."""
        return self.name

    def one_by_one(self, layout: str) -> str | None:
        """Return the setting that keeps it from training in one computation with others."""
        return "model.augment" if self.augment != "none" and layout == "image" else None

    def check_at(self, path: str) -> None:
        """Accept the settings, which are right one by one."""

    def check_task(self, task: Task, path: str) -> None:
        """Raise ConfigError where the network cannot take the inputs of a task."""
        if task.layout == "tokens":
            raise ConfigError(
                f"{path}.name={self.name}: needs numbers, the task has layout tokens; "
                "use model=module"
            )

    def network(self, task: Task) -> nn.Module:
        """Return its layers."""
        raise NotImplementedError

    def made(self, task: Task, path: str) -> LightningModule:
        """Return the network as a Lightning module."""
        self.check_at(path)
        self.check_task(task, path)
        made: LightningModule = load("qsynth.model.classifier", "Classifier")(
            self.network(task), task, self
        )
        return made

    def size(self, shape: tuple[int, ...], outputs: int) -> tuple[int, int] | None:
        """Return parameters, and multiplications of one forward pass."""
        raise NotImplementedError


class OfImages(Trained):
    """What the bundled networks share that take images alone."""

    def check_task(self, task: Task, path: str) -> None:
        """Raise ConfigError where the inputs are no images."""
        super().check_task(task, path)
        if task.layout != "image":
            raise ConfigError(f"{path}.name={self.name}: needs images, got {task.layout} inputs")


def described(config: ModelOption) -> dict[str, Any]:
    """Return what a predictor's file says of its network; nothing of the user's own code."""
    return {} if config.own else asdict(config)  # type: ignore[call-overload]


def pooled_size(channels: int, outputs: int, parameters: int, work: int) -> tuple[int, int]:
    """Return parameters and multiplications with those of the last layer, after the pools."""
    last = 2 * channels * outputs
    return parameters + last + outputs, work + last
