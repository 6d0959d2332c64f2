"""The options of the group `placement`."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any, ClassVar

from qsynth.errors import ConfigError
from qsynth.lazy import load
from qsynth.schema import name_of, option, setting

LEARNER = (
    "single: each node by itself; batched: nodes of one architecture in a process train in one "
    "computation, those that cannot one by one"
)

SOCKETS, DRAWN = "qs-", 8  # a folder of sockets: how it begins, and letters that are drawn for it


@option("placement")
@dataclass(frozen=True)
class PlacementOptions:
    """What every placement has.  An option subclasses it, or `Hosting` or `Cluster`."""

    learner: str = setting("single", LEARNER, choices=("single", "batched"))

    simulated: ClassVar[bool] = False  # whether nodes have no processes, sockets or time
    machines: ClassVar[bool] = False  # whether nodes may run on several machines
    places: ClassVar[str] = ""  # module:Class of what starts and watches the nodes of a plan
    threads: ClassVar[int] = 1
    restarts: ClassVar[int] = 0

    def check_here(self) -> None:
        """Raise ConfigError where what the placement needs is missing on this machine."""

    def placing(self) -> Any:
        """Return the class that places a plan.  Raises ConfigError where its extra is missing."""
        module, _, name = self.places.partition(":")
        try:
            return load(module, name)
        except ImportError as error:
            extra = name_of(self)
            raise ConfigError(
                f"placement={extra}: {error}; pip install 'qsynth[{extra}]'"
            ) from None


@option("placement")
@dataclass(frozen=True)
class Hosting(PlacementOptions):
    """What placements with processes have in common."""

    nice: int = setting(0, "added to each node's niceness", low=0, high=19)
    nodes_per_process: int = setting(
        1, "nodes that one process holds; they learn by turns, on one core", low=1
    )
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

    places: ClassVar[str] = "qsynth.placement.processes:ProcessesPlacement"


@option("placement")
@dataclass(frozen=True)
class Simulate(PlacementOptions):
    """All nodes in one process, on a virtual clock: the same seed gives the same bytes."""

    name: str = setting("simulate", "the option's name", choices=("simulate",))
    threads: int = setting(  # type: ignore[misc]
        1,
        "that train with learner=batched, from some dozens of nodes on; the bits are the same",
        low=1,
    )

    simulated: ClassVar[bool] = True


@option("placement")
@dataclass(frozen=True)
class Cluster(Hosting):
    """What placements on several machines have in common: tasks, each on one machine."""

    nodes_per_task: int = setting(4, "nodes that one task holds", low=1)
    cpus_per_task: int = setting(1, "cores that a task asks for", low=1)
    restarts: int = setting(  # type: ignore[misc]
        5, "times that a task is started again which has ended before its nodes", low=0
    )

    machines: ClassVar[bool] = True


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

    places: ClassVar[str] = "qsynth.placement.slurm:SlurmPlacement"

    def check_here(self) -> None:
        """Raise ConfigError where there is no Slurm."""
        self.placing()
        if shutil.which("sbatch") is None:
            raise ConfigError(
                "placement=slurm: there is no sbatch here; run it on a login node, or use "
                "placement=processes"
            )


@option("placement")
@dataclass(frozen=True)
class Ray(Cluster):
    """An actor of a Ray cluster for each task; Ray places and restarts them (extra `ray`)."""

    name: str = setting("ray", "the option's name", choices=("ray",))
    address: str = setting("auto", "of the cluster, HOST:PORT; auto: the one that runs here")

    places: ClassVar[str] = "qsynth.placement.ray:RayPlacement"

    def check_here(self) -> None:
        """Raise ConfigError where Ray is not installed."""
        self.placing()


OPTIONS: dict[str, type] = {
    "processes": Processes,
    "simulate": Simulate,
    "slurm": Slurm,
    "ray": Ray,
}
