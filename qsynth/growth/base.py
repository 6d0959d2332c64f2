"""What a growth is: which of a node's training samples are there, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qsynth.schema import option


@option("growth")
@dataclass(frozen=True)
class Growth:
    """All records are there from the start.  An option subclasses it."""

    live: ClassVar[bool] = False  # whether records are read while a node is on duty

    def ends(self, samples: int) -> tuple[int, ...]:
        """Return how many of a node's training samples are there after each batch; () for one."""
        return ()

    def batches(self, period: int, batches: int) -> int:
        """Return how many of so many batches are there in a period."""
        return batches

    def check_run(self) -> None:
        """Raise ConfigError where it is not for nodes that run together."""

    def check_live(self) -> None:
        """Raise ConfigError where it is not for a node on duty."""
