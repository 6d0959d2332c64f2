"""The placement `processes`: nodes in processes of this machine, forked after one warm import.

The runner only starts them and watches.  Each leads its own session and logs to a file, so that
it goes on if the runner dies; each binds a free address and writes it into the run folder.  With
`placement.start=spawn`, where networks train on a GPU, and where there is no fork, each process is
started anew instead.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from qsynth.errors import MeshError
from qsynth.host.plan_node import make_pipeline
from qsynth.kernels import warm_up
from qsynth.pipeline.teach import build_teachings
from qsynth.placement.base import Spec, named
from qsynth.placement.config import SOCKETS
from qsynth.placement.shared_process import run_nodes
from qsynth.placement.supervisor import QSYNTH
from qsynth.process_memory import lean
from qsynth.training.checkpoint import NEVER, Checkpoints
from qsynth.training.fit import die_with_parent, fit, no_exchange, quietly, single_threaded
from qsynth.training.plan import NodePlan, RunPlan


@dataclass
class _Process:
    """One process: the nodes that it holds, and what to ask for its end."""

    pid: int
    nodes: tuple[str, ...]
    spawned: subprocess.Popen[bytes] | None = None
    code: int | None = None

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; None while it runs."""
        if self.code is None and self.spawned is not None:
            self.code = self.spawned.poll()
        elif self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code


class ProcessesPlacement:
    """Start nodes of a plan as processes of this one.

    mortal: they end with the process that has started them, as on a machine of a cluster, whose
    scheduler starts them anew.
    """

    def __init__(self, plan: RunPlan, mortal: bool = False) -> None:
        self.plan, self.mortal = plan, mortal
        self._processes: list[_Process] = []
        self._sockets: Path | None = None
        self._warm = False

    def launch(self, spec: Spec) -> None:
        """Start processes, `nodes_per_process` nodes in each."""
        nodes = named(self.plan, spec.nodes)
        if not nodes:
            return
        if self._sockets is None:
            self._sockets = Path(tempfile.mkdtemp(prefix=SOCKETS))
        _clear_addresses(self.plan, nodes)
        size = self.plan.placement.nodes_per_process
        groups = [nodes[at : at + size] for at in range(0, len(nodes), size)]
        try:
            if starts_anew(self.plan):
                self._processes += (self._spawn(spec, group) for group in groups)
            else:
                self._fork_all(groups)
        except OSError as error:
            self.stop()
            raise MeshError(f"a process cannot be started ({error.strerror})") from None

    def _fork_all(self, groups: Sequence[Sequence[NodePlan]]) -> None:
        single_threaded()
        lean()
        if not self._warm:
            warm(self.plan)
            self._warm = True
        # Children start together, when the runner has closed the gate: those forked first would
        # else take the cores from the fork of the others.
        gate = os.pipe()
        try:
            for group in groups:  # one by one: `stop` must know of those that are there
                self._processes.append(self._fork(group, gate))
        finally:
            os.close(gate[0])
            os.close(gate[1])

    def poll(self) -> dict[str, int | None]:
        """Return an exit code by node, negative for a signal; None while it runs."""
        found = {name: each.poll() for each in self._processes for name in each.nodes}
        if self._sockets is not None and None not in found.values():
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None
        return found

    def stop(self) -> None:
        """Ask all processes to end."""
        for each in self._processes:
            if each.poll() is None:
                os.kill(each.pid, signal.SIGTERM)

    def logs(self, node: str) -> list[Path]:
        """Return a node's log: that of the first node which its process holds."""
        held = next((each.nodes for each in self._processes if node in each.nodes), (node,))
        return [self.plan.folder / "nodes" / held[0] / "log.txt"]

    def _spawn(self, spec: Spec, nodes: Sequence[NodePlan]) -> _Process:
        names = tuple(node.name for node in nodes)
        command = [*QSYNTH, "part", str(spec.folder), *names, "--mine"]
        command += ["--within", str(self._sockets), *(["--mortal"] if self.mortal else [])]
        with (self.plan.node_folder(nodes[0]) / "log.txt").open("ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return _Process(child.pid, names, child)

    def _fork(self, nodes: Sequence[NodePlan], gate: tuple[int, int]) -> _Process:
        sys.stdout.flush()
        sys.stderr.flush()
        parent, pid = os.getpid(), os.fork()
        if pid:
            return _Process(pid, tuple(node.name for node in nodes))
        status = 1
        try:
            if self.mortal:
                die_with_parent(parent)
            os.setsid()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _redirect(self.plan.node_folder(nodes[0]) / "log.txt")
            os.nice(self.plan.placement.nice)
            os.close(gate[1])
            os.read(gate[0], 1)  # returns when every other holder has closed it, also by dying
            os.close(gate[0])
            assert self._sockets is not None
            run_nodes(self.plan, nodes, self._sockets)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)


def _clear_addresses(plan: RunPlan, nodes: Sequence[NodePlan]) -> None:
    """Make the folders of nodes that are about to start, without addresses of an earlier life."""
    for node in nodes:
        folder = plan.node_folder(node)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "address").unlink(missing_ok=True)


def starts_anew(plan: RunPlan) -> bool:
    """Return whether processes are started anew, and not forked."""
    start = plan.placement.start
    if start == "auto" and plan.trainer.accelerator != "cpu":
        return True  # CUDA does not survive a fork
    return start == "spawn" or not hasattr(os, "fork")


def warm(plan: RunPlan) -> None:
    """Import, compile and train once, so that forked nodes share it all.

    Before a fork: one torch thread, no parallel numba, no socket (each hangs or aborts a child).
    """
    warm_up()
    first = plan.nodes[0]
    pipeline = make_pipeline(plan, first)
    publication = pipeline.distil()
    synthesis, _ = pipeline.synthesize({}, {})
    build_teachings([pipeline.teaching(synthesis, {}, 0)])
    del publication, synthesis
    short = replace(plan, trainer=replace(plan.trainer, max_steps=2, period_steps=2, logger="none"))
    architectures = {node.architecture: node for node in plan.nodes}
    with tempfile.TemporaryDirectory() as folder:
        # Written and read once: what torch and Lightning import for it is shared, too.
        keeper = Checkpoints(Path(folder) / "fit.ckpt", plan.trainer.checkpoint_s, NEVER)
        for node in architectures.values():
            keeper.path.unlink(missing_ok=True)
            network = quietly(partial(fit, short, node, no_exchange, keeper))
            keeper.of(network)
    gc.collect()
    gc.freeze()


def _redirect(path: Path) -> None:
    """Write to a log file, never to the runner's pipes."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
