"""The placement `ray`: an actor for each task; Ray places them, and places them again when lost.

Actors are detached: they outlive a dead runner, and leave once their nodes have ended.  Nothing
of what nodes say to each other goes through Ray.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayError

from qsynth.errors import ConfigError, MeshError
from qsynth.placement.actor import Holder
from qsynth.placement.cluster import LOST, tasks_of, told
from qsynth.placement.contract import Spec
from qsynth.placement.plan import Plan

NAMESPACE = "qsynth"


@dataclass
class _Placed:
    """An actor: its nodes, the question that it has not answered yet, their codes."""

    actor: Any
    nodes: tuple[str, ...]
    asked: Any = None
    codes: dict[str, int] | None = None


class RayPlacement:
    """Place actors on a Ray cluster, and watch them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._placed: list[_Placed] = []

    def launch(self, spec: Spec) -> None:
        """Place an actor for each task; one of an earlier runner that still lives is kept."""
        _connect(self.plan.placement.address)
        holder = ray.remote(Holder)
        placement = self.plan.placement
        for task in tasks_of(self.plan, spec, logs=True):
            options: dict[str, Any] = {
                "name": f"{self.plan.folder.name}/{task.nodes[0]}", "namespace": NAMESPACE,
                "get_if_exists": True, "lifetime": "detached", "num_cpus": placement.cpus_per_task,
                "max_restarts": placement.restarts,
                "scheduling_strategy": "SPREAD",
            }  # fmt: skip
            actor = holder.options(**options).remote(task)
            self._placed.append(_Placed(actor, task.nodes))

    def poll(self) -> dict[str, int | None]:
        """Return an exit code by node; None while its actor runs, or waits for a place."""
        found: dict[str, int | None] = {}
        for placed in self._placed:
            if placed.codes is None:
                placed.codes = self._codes(placed)
            found |= dict.fromkeys(placed.nodes) if placed.codes is None else placed.codes
        return found

    def stop(self) -> None:
        """Kill the actors, and their nodes with them."""
        for placed in self._placed:
            if placed.codes is None:
                ray.kill(placed.actor)

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
        except ActorDiedError:  # it has left without a word, or was lost too often
            return told(self.plan.folder, placed.nodes) or dict.fromkeys(placed.nodes, LOST)
        except RayError:
            pass  # it is being placed again
        return None


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
