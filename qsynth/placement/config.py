"""The options of the group `placement`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsynth.schema import option, setting

LEARNER = (
    "single: each node by itself; batched: nodes of one architecture in a process train in one "
    "computation, those that cannot one by one"
)

SOCKETS, DRAWN = "qs-", 8  # a folder of sockets: how it begins, and letters that are drawn for it


@option("placement")
@dataclass(frozen=True)
class Hosting:
    """What placements with processes have in common."""

    nice: int = setting(0, "added to each node's niceness", low=0, high=19)
    nodes_per_process: int = setting(
        1, "nodes that one process holds; they learn by turns, on one core", low=1
    )
    learner: str = setting("single", LEARNER, choices=("single", "batched"))
    start: str = setting(
        "auto",
        "fork: processes share one warm import; spawn: each is started anew; auto: fork "
        "where networks train on the CPU",
        choices=("auto", "fork", "spawn"),
    )


@option("placement")
@dataclass(frozen=True)
class Processes(Hosting):
    """Processes of this machine, forked after one warm import."""

    name: str = setting("processes", "the option's name", choices=("processes",))


@option("placement")
@dataclass(frozen=True)
class Simulate:
    """All nodes in one process, on a virtual clock: the same seed gives the same bytes."""

    name: str = setting("simulate", "the option's name", choices=("simulate",))
    learner: str = setting("single", LEARNER, choices=("single", "batched"))
    threads: int = setting(
        1,
        "that train with learner=batched, from some dozens of nodes on; the bits are the same",
        low=1,
    )


@option("placement")
@dataclass(frozen=True)
class Cluster(Hosting):
    """What placements on several machines have in common: tasks, each on one machine."""

    nodes_per_task: int = setting(4, "nodes that one task holds", low=1)
    cpus_per_task: int = setting(1, "cores that a task asks for", low=1)
    restarts: int = setting(
        5, "times that a task is started again which has ended before its nodes", low=0
    )


@option("placement")
@dataclass(frozen=True)
class Slurm(Cluster):
    """Tasks of a Slurm job array, requeued where they were preempted (extra `slurm`)."""

    name: str = setting("slurm", "the option's name", choices=("slurm",))
    partition: str = setting("", "of the cluster; empty: its default")
    account: str = setting("", "that the job is charged to; empty: the user's default")
    time_min: int = setting(60, "minutes after which a task is ended; it is requeued then", low=1)
    memory_gb: float = setting(4.0, "GB of memory that a task asks for", low=0.1)
    arguments: dict[str, Any] = setting({}, "further parameters of sbatch, by their long names")


@option("placement")
@dataclass(frozen=True)
class Ray(Cluster):
    """An actor of a Ray cluster for each task; Ray places and restarts them (extra `ray`)."""

    name: str = setting("ray", "the option's name", choices=("ray",))
    address: str = setting("auto", "of the cluster, HOST:PORT; auto: the one that runs here")


OPTIONS: dict[str, type] = {
    "processes": Processes,
    "simulate": Simulate,
    "slurm": Slurm,
    "ray": Ray,
}
