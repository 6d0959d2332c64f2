"""The options of the group `placement`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import setting


@dataclass(frozen=True)
class Processes:
    """Each node its own process, forked after one warm import."""

    name: str = setting("processes", "the option's name", choices=("processes",))
    nice: int = setting(0, "added to each node's niceness", low=0, high=19)


@dataclass(frozen=True)
class Simulate:
    """All nodes in one process, on a virtual clock: the same seed gives the same bytes."""

    name: str = setting("simulate", "the option's name", choices=("simulate",))
    learner: str = setting(
        "single", "single: a Trainer for each node; batched: nodes of one architecture train in "
        "one computation, those that cannot one by one", choices=("single", "batched"),
    )  # fmt: skip


OPTIONS: dict[str, type] = {"processes": Processes, "simulate": Simulate}
