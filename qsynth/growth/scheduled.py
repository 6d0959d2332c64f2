"""The option `scheduled`: a run in which each node gets its training samples by and by."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.errors import ConfigError
from qsynth.growth.base import Growth
from qsynth.schema import option, setting


@option("growth")
@dataclass(frozen=True)
class Scheduled(Growth):
    """Each node of a run begins with some of its training samples, and gets the others later."""

    name: str = setting("scheduled", "the option's name", choices=("scheduled",))
    first: int = setting(60, "training samples of a node at the start", low=4)
    rows: int = setting(10, "training samples in each later batch", low=1)
    periods: int = setting(1, "between two batches", low=1)

    def check_live(self) -> None:
        """Raise ConfigError: a node on duty has no schedule."""
        raise ConfigError("growth=scheduled: is for a run; `qsynth node up` takes growth=file")

    def ends(self, samples: int) -> tuple[int, ...]:
        """Return how many of a node's training samples are there after each batch."""
        if samples <= self.first:
            return ()
        return (self.first, *range(self.first + self.rows, samples, self.rows), samples)

    def batches(self, period: int, batches: int) -> int:
        """Return how many of so many batches are there in a period."""
        return min(1 + period // self.periods, batches)
