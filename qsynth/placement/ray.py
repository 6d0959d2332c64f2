"""The placement `ray`: an actor for each task; Ray places them, and places them again when lost.

Actors are detached: they outlive a dead runner, and leave once their nodes have ended.  Nothing
of what nodes say to each other goes through Ray.
"""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, ActorUnschedulableError, RayError

from qsynth.errors import ConfigError, MeshError
from qsynth.placement.actor import Holder
from qsynth.placement.base import Spec
from qsynth.placement.cluster import LOST, keep, kept, tasks_of, told
from qsynth.training.plan import RunPlan

NAMESPACE = "qsynth"


@dataclass
class _Placed:
    """An actor: its nodes, the question that it has not answered yet, their codes."""

    actor: Any
    name: str
    nodes: tuple[str, ...]
    asked: Any = None
    codes: dict[str, int] | None = None


class RayPlacement:
    """Place actors on a Ray cluster, and watch them."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self._placed: list[_Placed] = []

    def launch(self, spec: Spec) -> None:
        """Place an actor for each task; those of an earlier runner that live are watched again."""
        _connect(self.plan.placement.address)
        if not self._placed:
            self._placed = self._kept()
        held = {name for placed in self._placed if placed.codes is None for name in placed.nodes}
        missing = tuple(name for name in spec.nodes if name not in held)
        holder, placement = ray.remote(Holder), self.plan.placement
        for task in tasks_of(self.plan, Spec(spec.folder, missing), logs=True):
            name = f"{self.plan.folder.name}/{task.nodes[0]}/{uuid.uuid4().hex}"
            options: dict[str, Any] = {
                "name": name,
                "lifetime": "detached",
                "num_cpus": placement.cpus_per_task,
                "max_restarts": placement.restarts,
                "scheduling_strategy": "SPREAD",
            }
            self._placed.append(_Placed(holder.options(**options).remote(task), name, task.nodes))
            keep(self.plan.folder, [(placed.name, placed.nodes) for placed in self._placed])

    def _kept(self) -> list[_Placed]:
        """Return the actors of an earlier runner that live."""
        found = []
        for name, nodes in kept(self.plan.folder):
            with contextlib.suppress(ValueError):  # it has left
                found.append(_Placed(ray.get_actor(name), name, nodes))
        return found

    def poll(self) -> dict[str, int | None]:
        """Return an exit code by node; None while its actor runs, or waits for a place."""
        found: dict[str, int | None] = {}
        for placed in self._placed:
            if placed.codes is None:
                placed.codes = self._codes(placed)
            found |= dict.fromkeys(placed.nodes) if placed.codes is None else placed.codes
        if None not in found.values() and ray.is_initialized():
            ray.shutdown()  # what measures in the end forks: no threads of Ray's then
        return found

    def stop(self) -> None:
        """Kill the actors, and their nodes with them."""
        for placed in self._placed:
            if placed.codes is None:
                ray.kill(placed.actor)
        ray.shutdown()

    def logs(self, node: str) -> list[Path]:
        """Return what a node's task and the node itself have written."""
        tasks = [placed.nodes[0] for placed in self._placed if node in placed.nodes]
        parts = [self.plan.folder / "parts" / f"{first}.log" for first in tasks]
        return [*parts, self.plan.folder / "nodes" / node / "log.txt"]

    def _codes(self, placed: _Placed) -> dict[str, int] | None:
        """Return how an actor's nodes have ended: what their part has told, else what Ray says."""
        codes = told(self.plan.folder, placed.nodes)
        if codes is not None:
            return codes
        if placed.asked is None:
            placed.asked = placed.actor.poll.remote()
        ready, _ = ray.wait([placed.asked], timeout=0)
        if not ready:
            return None
        asked, placed.asked = placed.asked, None
        try:
            ray.get(asked)
        except (ActorDiedError, ActorUnschedulableError) as error:
            # It has left without a word, was lost too often, or could not even begin.
            codes = told(self.plan.folder, placed.nodes)
            if codes is None:
                self._note(placed, str(error))
            return codes or dict.fromkeys(placed.nodes, LOST)
        except RayError:
            pass  # it is being placed again
        return None

    def _note(self, placed: _Placed, error: str) -> None:
        path = self.plan.folder / "parts" / f"{placed.nodes[0]}.log"
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(f"ray: {error.strip()}\n")


def _connect(address: str) -> None:
    """Connect to a cluster, with its token.  Raises ConfigError or MeshError."""
    if os.environ.setdefault("RAY_AUTH_MODE", "token").lower() != "token":
        raise ConfigError(
            f"RAY_AUTH_MODE={os.environ['RAY_AUTH_MODE']}: without a token anybody who reaches the "
            "cluster runs code on it; use RAY_AUTH_MODE=token"
        )
    if ray.is_initialized():
        return
    try:
        ray.init(
            address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR
        )
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MeshError(f"placement.address={address}: {line}") from None
