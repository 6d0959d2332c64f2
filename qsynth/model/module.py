"""The model `module`: the user's own LightningModule."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qsynth.errors import ConfigError
from qsynth.lazy import load
from qsynth.schema import load_target, option, setting
from qsynth.types import Task

if TYPE_CHECKING:
    from pytorch_lightning import LightningModule


@option("model")
@dataclass(frozen=True)
class Module:
    """The user's own LightningModule whose forward(x) gives logits."""

    name: str = setting("module", "the option's name", choices=("module",))
    target: str = setting("", "package.Class of a LightningModule")
    arguments: dict[str, Any] = setting({}, "its keyword arguments")

    own = True
    looped = False

    @property
    def kind(self) -> str:
        """Return the class."""
        return self.target

    def one_by_one(self, layout: str) -> str | None:
        """Return None: it is a Trainer that trains it (`looped`)."""
        return None

    def check_at(self, path: str) -> None:
        """Raise ConfigError where no class is named."""
        if not self.target:
            raise ConfigError(f"{path}.target=: needs package.Class of a LightningModule")

    def made(self, task: Task, path: str) -> LightningModule:
        """Return the network, which has to give logits of the task."""
        made = load_target(f"{path}.target", self.target)
        base = load("pytorch_lightning", "LightningModule")
        if not (isinstance(made, type) and issubclass(made, base)):
            raise ConfigError(f"{path}.target={self.target}: must be a LightningModule")
        try:
            network: LightningModule = made(**self.arguments)
        except TypeError as error:
            raise ConfigError(f"{path}.arguments: {error}") from None
        except Exception as error:  # the user's own code may raise anything
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{last.filename}:{last.lineno}"
            raise ConfigError(f"{path}.target={self.target}: {error!r} ({where})") from None
        load("qsynth.model.make", "check_network")(network, task, path)
        return network

    def size(self, shape: tuple[int, ...], outputs: int) -> tuple[int, int] | None:
        """Return None: it is not known before it is made."""
        return None
