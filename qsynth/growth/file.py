"""The option `file`: a node on duty takes the rows that are added to its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qsynth.errors import ConfigError
from qsynth.growth.base import Growth
from qsynth.schema import option, setting


@option("growth")
@dataclass(frozen=True)
class FileGrowth(Growth):
    """`qsynth node up` looks whether rows were added to `data.path`, and learns on."""

    name: str = setting("file", "the option's name", choices=("file",))
    every_s: float = setting(3600.0, "seconds between two looks at the file", low=1.0, high=1e7)
    least: int = setting(10, "new rows that make a batch; fewer wait", low=1)
    steps: int = setting(100, "optimizer steps that the network trains on after each batch", low=1)

    live: ClassVar[bool] = True

    def check_run(self) -> None:
        """Raise ConfigError: nodes that run together are dealt all there is."""
        raise ConfigError("growth=file: is for `qsynth node up`; a run takes growth=scheduled")
