"""A simulation on disk: everything at one moment of its virtual clock, put in place at once.

A snapshot is a pickle, as Lightning's checkpoints are: it is read under the user's own seal alone.
"""

from __future__ import annotations

import os
import pickle
import platform
import shutil
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qsynth.errors import StateError, UntrustedError
from qsynth.identity.seal import seal, sealed
from qsynth.simulation.node import SimulatedNode
from qsynth.training.plan import RunPlan

# Made again from the config, so not kept: what is shared, and what is large.
SHARED = ("data", "encoder", "rules", "trainer", "peers", "trust", "dht", "mesh", "reference")
# Of the time that goes into snapshots: those of large fleets come more seldom.
MOST_SHARE = 0.05
LAYOUT = 3  # raised whenever classes in a snapshot move or change
MADE_WITH = ("qsynth", "torch", "pytorch-lightning", "numpy")


class Simulated(Protocol):
    """What a snapshot needs of a simulation."""

    plan: RunPlan
    nodes: list[SimulatedNode]


Kind = TypeVar("Kind", bound=Simulated)


class Snapshots:
    """Keep the newest snapshot of a simulation in a folder.

    every_s: seconds of wall time between two, more where one takes long.  digest: of the config
    that it is a run of.
    """

    def __init__(self, folder: Path, every_s: float, digest: bytes) -> None:
        self.folder, self.every_s = folder, every_s
        self._made = {"layout": str(LAYOUT), "config": digest.hex()}
        self._made["python"] = platform.python_version()
        self._made |= {package: version(package) for package in MADE_WITH}
        self._next = time.monotonic() + every_s

    @property
    def due(self) -> bool:
        """Return whether it is time for a snapshot."""
        return time.monotonic() >= self._next

    def save(self, simulation: Simulated) -> None:
        """Write a snapshot.  Raises StateError; the one before stays then."""
        began = time.monotonic()
        part = self.folder.with_name(self.folder.name + ".part")
        before = self.folder.with_name(self.folder.name + ".before")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            for node in simulation.nodes:
                if node.started and not node.done:
                    node.handle.save(part / f"{node.node.index}.ckpt")
            with (part / "simulation.pickle").open("wb") as file:
                pickle.dump(self._made, file)
                _Pickler(file, simulation.plan).dump(simulation)
                file.flush()
                os.fsync(file.fileno())
            seal(part / "simulation.pickle")
            shutil.rmtree(before, ignore_errors=True)
            if self.folder.exists():
                os.rename(self.folder, before)
            os.rename(part, self.folder)
            shutil.rmtree(before, ignore_errors=True)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
            raise StateError(f"{self.folder}: cannot be written ({error})") from None
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise StateError(f"{self.folder}: a part cannot be kept ({error})") from None
        took = time.monotonic() - began
        self._next = time.monotonic() + max(self.every_s, took / MOST_SHARE)

    def load(self, plan: RunPlan, kind: type[Kind]) -> Kind | None:
        """Return the newest snapshot, its fits under way again; None where there is none.

        kind: the class of a simulation.

        Raises UntrustedError where it has no seal of this user's, StateError where it is another
        config's, or another version's.
        """
        before = self.folder.with_name(self.folder.name + ".before")
        if not self.folder.exists() and before.exists():
            os.rename(before, self.folder)  # it was killed between two renames
        path = self.folder / "simulation.pickle"
        if not path.exists():
            return None
        if not sealed(path):
            raise UntrustedError(
                f"{path}: has no seal of yours: written elsewhere, or torn, and reading a "
                "pickle could run code; begin the run anew, or give --mine where it is your own"
            )
        with path.open("rb") as file:
            try:
                made = pickle.load(file)  # noqa: S301
            except Exception as error:  # unpickling may raise anything
                raise StateError(f"{path}: cannot be read ({error})") from None
            for key, value in self._made.items():
                if made.get(key) != value:
                    raise StateError(
                        f"{path}: made with {key} {made.get(key)}, here it is {value}; the same "
                        "bits cannot be promised"
                    )
            try:
                simulation = _Unpickler(file, plan).load()
            except Exception as error:
                raise StateError(f"{path}: cannot be read ({error})") from None
        if not isinstance(simulation, kind):
            raise StateError(f"{path}: holds no simulation")
        for node in simulation.nodes:
            node.go_on(self.folder / f"{node.node.index}.ckpt")
            if node.error is not None:
                raise node.error
        return simulation


def _shared(plan: RunPlan) -> dict[str, Any]:
    shared = {name: getattr(plan, name) for name in SHARED if getattr(plan, name) is not None}
    return {"plan": plan, **shared} | {f"node {node.index}": node for node in plan.nodes}


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, plan: RunPlan) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._names = {id(value): name for name, value in _shared(plan).items()}

    def persistent_id(self, obj: Any) -> str | None:
        return self._names.get(id(obj))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, plan: RunPlan) -> None:
        super().__init__(file)
        self._shared = _shared(plan)

    def persistent_load(self, pid: str) -> Any:
        return self._shared[pid]
