"""The contract of placements: they start processes that hold nodes, and then only watch.

A placement is never on the data path: nodes find each other by the DHT and go on without it.  A
run's folder, at the same path on every machine, is all that they share.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qsynth.protocol.journal import in_use
from qsynth.training.plan import NodePlan, RunPlan

POLL_S = 0.2
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Spec:
    """What a process needs to be nodes of a run: its folder, their names.

    The folder has the config, and the addresses to join through, which nodes write there.
    """

    folder: Path
    nodes: tuple[str, ...]


class Placement(Protocol):
    """Where nodes run.  All four calls return at once."""

    def launch(self, spec: Spec) -> None:
        """Start what is to hold these nodes, beside what has been started before.

        Raises MeshError where it cannot be started.
        """

    def poll(self) -> dict[str, int | None]:
        """Return an exit code by node, negative for a signal; None while it runs, or waits."""

    def stop(self) -> None:
        """End all that was launched; nodes go on from their folders when launched again."""

    def logs(self, node: str) -> list[Path]:
        """Return the files that tell what has become of a node's process."""


def run_placed(plan: RunPlan, placement: Placement, progress: Progress) -> dict[str, Any]:
    """Run a plan, or go on with it.  Returns wall seconds and exit codes by node.

    progress: called now and then with the seconds since the start.  Nodes that were killed go on
    from what is in their folders; those that outlived their runner are waited for.
    """
    began = time.monotonic()
    alive = [node for node in plan.nodes if in_use(plan.node_folder(node))]
    dead = [node for node in plan.nodes if node not in alive]
    if not alive and all(_ended(plan, node, served=True) for node in dead):
        dead = []  # they had only nobody to tell
    try:
        # Also where nothing is dead: what an earlier runner has placed is watched again.
        placement.launch(_spec(plan, dead))
        while True:
            polled = placement.poll()
            others = any(in_use(plan.node_folder(node)) for node in alive)
            if None not in polled.values() and not others:
                lost = [node for node in alive if not _ended(plan, node)]
                if not lost:
                    break
                alive = []
                placement.launch(_spec(plan, lost))
            progress(time.monotonic() - began)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        # The user's own wish ends the nodes too; a killed runner, on the other hand, does not.
        placement.stop()
        raise
    statuses = {name: code for name, code in polled.items() if code is not None}
    return {"wall_s": time.monotonic() - began, "statuses": statuses}


def _spec(plan: RunPlan, nodes: Sequence[NodePlan]) -> Spec:
    return Spec(plan.folder, tuple(node.name for node in nodes))


def _ended(plan: RunPlan, node: NodePlan, served: bool = False) -> bool:
    """Return whether a node has told its result.

    served: whether it has served the others to its end, too.
    """
    try:
        result = json.loads((plan.node_folder(node) / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return not served or (isinstance(result, dict) and result.get("lingered") is not None)


def named(plan: RunPlan, names: Sequence[str]) -> list[NodePlan]:
    """Return the nodes of these names, in the order of the plan."""
    wanted = set(names)
    return [node for node in plan.nodes if node.name in wanted]
