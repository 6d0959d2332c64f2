"""What placements on clusters share: tasks of some nodes each, and what a run's folder tells."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from qsynth.files import write_json
from qsynth.placement.base import Spec, named
from qsynth.placement.supervisor import Task, part_file
from qsynth.training.plan import RunPlan

PLACED = "placement.json"  # in the run's folder
LOST = -9  # the code of nodes whose task has ended without a word


def tasks_of(plan: RunPlan, spec: Spec, logs: bool) -> list[Task]:
    """Return tasks for the nodes of a spec, `nodes_per_task` in each.

    What parts have told before is forgotten.  logs: whether each writes to a file of its own.
    """
    names = [node.name for node in named(plan, spec.nodes)]
    size = plan.placement.nodes_per_task
    (spec.folder / "parts").mkdir(exist_ok=True)
    made = []
    for at in range(0, len(names), size):
        nodes = tuple(names[at : at + size])
        part_file(spec.folder, nodes).unlink(missing_ok=True)
        log = str(spec.folder / "parts" / f"{nodes[0]}.log") if logs else None
        made.append(
            Task(str(spec.folder), nodes, os.getcwd(), _path(), plan.placement.restarts, log)
        )
    return made


def _path() -> str:
    """Return PYTHONPATH for tasks: this process's own, and where it finds the user's modules."""
    given = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    package = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([*given, *([] if _installed(package) else [package])])


def _installed(package: str) -> bool:
    return any(package.startswith(p) for p in (sys.prefix, sys.base_prefix))


def keep(folder: Path, tasks: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Write which jobs or actors hold which nodes, for another runner."""
    write_json(folder / PLACED, {"tasks": [{"name": n, "nodes": list(held)} for n, held in tasks]})


def kept(folder: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Return what an earlier runner has written by `keep`; nothing where there was none."""
    try:
        read = json.loads((folder / PLACED).read_text(encoding="utf-8"))
        return [(str(task["name"]), tuple(task["nodes"])) for task in read["tasks"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def told(folder: Path, nodes: Sequence[str]) -> dict[str, int] | None:
    """Return the exit codes that a part has told; None while it has not."""
    try:
        read = json.loads(part_file(folder, tuple(nodes)).read_text(encoding="utf-8"))
        return {name: int(read["codes"].get(name, LOST)) for name in nodes}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
