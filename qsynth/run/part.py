"""A part of a run: some of its nodes, held by this process and those that it forks.

What a cluster's scheduler starts on a machine, knowing only the run's folder and names of nodes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from qsynth.errors import ConfigError, StateError, nearest_spelling
from qsynth.node.recorder import write_json
from qsynth.node.state import in_use
from qsynth.placement.contract import POLL_S, Spec, named
from qsynth.placement.crowd import run_nodes
from qsynth.placement.plan import Plan
from qsynth.placement.processes import ProcessesPlacement
from qsynth.placement.task import part_file
from qsynth.run.build import build
from qsynth.run.config import RunConfig

FREE_S = 60.0  # until a node's files are let go by the process that has died with them


def hold(config: RunConfig, folder: Path, names: Sequence[str]) -> dict[str, int]:
    """Be these nodes of a run until they end; return their exit codes.

    Ends them with this process, whatever becomes of it: who has started it starts it again, and
    they go on from the run's folder.  Raises ConfigError, and StateError where others have them.
    """
    plan = _plan(config, folder, names)
    nodes = named(plan, names)
    end = time.monotonic() + FREE_S
    while taken := [node.name for node in nodes if in_use(plan.node_folder(node))]:
        if time.monotonic() > end:
            raise StateError(f"{folder}: another process has {', '.join(taken)}")
        time.sleep(POLL_S)
    placement = ProcessesPlacement(plan, mortal=True)
    placement.launch(Spec(folder, tuple(names)))
    while None in (polled := placement.poll()).values():
        time.sleep(POLL_S)
    codes = {name: code for name, code in polled.items() if code is not None}
    _tell(folder, names, codes)
    return codes


def within(config: RunConfig, folder: Path, names: Sequence[str], sockets: Path) -> None:
    """Be these nodes in this very process: what the start method `spawn` runs."""
    plan = _plan(config, folder, names)
    run_nodes(plan, named(plan, names), sockets)


def _tell(folder: Path, names: Sequence[str], codes: Mapping[str, int]) -> None:
    """Tell who watches the part how its nodes have ended."""
    path = part_file(folder, tuple(names))
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"codes": dict(codes)})


def _plan(config: RunConfig, folder: Path, names: Sequence[str]) -> Plan:
    plan = build(config, folder)
    known = [node.name for node in plan.nodes]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"part {name}: no such node of {folder}{nearest_spelling(name, known)}"
            )
    return plan
