"""A part of a run: some of its nodes, held by this process and those that it forks.

What a cluster's scheduler starts on a machine, knowing only the run's folder and names of nodes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from qsynth.config.run import RunConfig
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.experiment.build import build
from qsynth.experiment.lock import check_data
from qsynth.files import write_json
from qsynth.placement.base import POLL_S, Spec, named
from qsynth.placement.processes import ProcessesPlacement
from qsynth.placement.shared_process import run_nodes
from qsynth.placement.supervisor import part_file
from qsynth.protocol.journal import in_use
from qsynth.training.plan import RunPlan

# Until a node's files are let go: a lock of a machine that is gone lives for 90 s on NFS, or more.
FREE_S = 300.0


def hold(config: RunConfig, folder: Path, names: Sequence[str]) -> dict[str, int] | None:
    """Be these nodes of a run until they end; return their exit codes.

    None: other processes have them, and do not let them go.  Nodes that a signal has ended go on,
    `placement.restarts` times.  Ends them with this process, whatever becomes of it: who has
    started it starts it again, and they go on from the run's folder.  Raises ConfigError.
    """
    plan = _plan(config, folder, names)
    nodes = named(plan, names)
    end = time.monotonic() + FREE_S
    while taken := [node.name for node in nodes if in_use(plan.node_folder(node))]:
        if time.monotonic() > end:
            print(f"{folder}: another process has {', '.join(taken)}", flush=True)
            return None
        time.sleep(POLL_S)
    placement = ProcessesPlacement(plan, mortal=True)
    placement.launch(Spec(folder, tuple(names)))
    lives = Counter[str]()
    while True:
        polled = placement.poll()
        killed = [n for n, code in polled.items() if code is not None and code < 0]
        again = [n for n in killed if lives[n] < plan.placement.restarts]
        if again:
            lives.update(again)
            print(f"ended by a signal, started again: {', '.join(again)}", flush=True)
            placement.launch(Spec(folder, tuple(again)))
        elif None not in polled.values():
            break
        time.sleep(POLL_S)
    codes = {name: code for name, code in polled.items() if code is not None}
    _tell(folder, names, codes)
    return codes


def within(config: RunConfig, folder: Path, names: Sequence[str], sockets: Path) -> None:
    """Be these nodes in this very process: what the start method `spawn` runs."""
    plan = _plan(config, folder, names)
    os.nice(plan.placement.nice)
    run_nodes(plan, named(plan, names), sockets)


def _tell(folder: Path, names: Sequence[str], codes: Mapping[str, int]) -> None:
    """Tell who watches the part how its nodes have ended."""
    path = part_file(folder, tuple(names))
    path.parent.mkdir(exist_ok=True)
    write_json(path, {"codes": dict(codes)})


def _plan(config: RunConfig, folder: Path, names: Sequence[str]) -> RunPlan:
    if config.placement.simulated:
        raise ConfigError(f"part: {folder} is a simulated run, whose nodes live in one process")
    plan = build(config, folder)
    check_data(plan)
    known = [node.name for node in plan.nodes]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"part {name}: no such node of {folder}{nearest_spelling(name, known)}"
            )
    return plan
