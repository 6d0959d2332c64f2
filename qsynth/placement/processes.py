"""The placement `processes`: each node its own process, forked after one warm import.

The runner only starts them and watches.  Each leads its own session and logs to a file, so that
it goes on if the runner dies; each binds a free address and writes it into the run folder.
"""

from __future__ import annotations

import gc
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qsynth.errors import MeshError
from qsynth.identity.file import identity_of
from qsynth.kernels import warm_up
from qsynth.mesh.config import Tcp
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.node.host import MeshHost
from qsynth.node.ledger import NAME as LEDGER
from qsynth.node.ledger import Ledger
from qsynth.node.memory import lean, private_mib, release
from qsynth.node.recorder import Recorder, write_json
from qsynth.node.saved import entries_of, restore
from qsynth.node.state import State, in_use
from qsynth.placement.checkpoint import Checkpoints
from qsynth.placement.finish import write_predictor, write_result
from qsynth.placement.plan import NodePlan, Plan
from qsynth.placement.points import keeping
from qsynth.placement.scheduling import ask_long_slices
from qsynth.placement.train import (
    fit,
    make_node,
    make_participant,
    make_study,
    no_exchange,
    quietly,
    single_threaded,
)

POLL_S = 0.2
_NEVER = threading.Event()
Progress = Callable[[float], None]


def run_processes(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Run a plan in processes of its own, or go on with it.  Returns wall seconds and statuses.

    progress: called now and then with the seconds since the start.  Nodes that were killed go on
    from what is in their folders; those that outlived their runner are waited for.
    """
    if not hasattr(os, "fork"):
        raise MeshError("placement=processes needs fork; use placement=simulate")
    single_threaded()
    lean()
    warm(plan)
    sockets = Path(tempfile.mkdtemp(prefix="qs-"))
    began = time.monotonic()
    children: dict[int, NodePlan] = {}
    # Children start together, when the runner has closed the gate: those forked first would
    # else take the cores from the fork of the others.
    alive = [node for node in plan.nodes if in_use(plan.node_folder(node))]
    dead = [node for node in plan.nodes if node not in alive]
    for node in dead:
        plan.node_folder(node).mkdir(parents=True, exist_ok=True)
        (plan.node_folder(node) / "address").unlink(missing_ok=True)  # of an earlier life
    gate = os.pipe()
    for node in dead:
        children[_fork(plan, node, sockets, gate)] = node
    os.close(gate[0])
    os.close(gate[1])
    try:
        statuses = _watch(children, progress, began)
        while any(in_use(plan.node_folder(node)) for node in alive):
            progress(time.monotonic() - began)
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        # The user's own wish ends the nodes too; a killed runner, on the other hand, does not.
        for pid in children:
            os.kill(pid, signal.SIGTERM)
        raise
    finally:
        if not children:
            shutil.rmtree(sockets, ignore_errors=True)
    return {"wall_s": time.monotonic() - began, "statuses": statuses}


def warm(plan: Plan) -> None:
    """Import, compile and train once, so that forked nodes share it all.

    Before a fork: one torch thread, no parallel numba, no socket (each hangs or aborts a child).
    """
    warm_up()
    first = plan.nodes[0]
    study = make_study(plan, first)
    outcome = study.distil()
    synthesis, _ = study.synthesize({}, {})
    study.teaching(synthesis, {}, 0)
    del outcome, synthesis
    short = replace(plan, trainer=replace(plan.trainer, max_steps=2, period_steps=2, logger="none"))
    architectures = {node.architecture: node for node in plan.nodes}
    with tempfile.TemporaryDirectory() as folder:
        # Written and read once: what torch and Lightning import for it is shared, too.
        keeper = Checkpoints(Path(folder) / "fit.ckpt", plan.trainer.checkpoint_s, _NEVER)
        for node in architectures.values():
            keeper.path.unlink(missing_ok=True)
            network = quietly(partial(fit, short, node, no_exchange, keeper))
            keeper.of(network)
    gc.collect()
    gc.freeze()


def _fork(plan: Plan, node: NodePlan, sockets: Path, gate: tuple[int, int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _redirect(plan.node_folder(node) / "log.txt")
        os.nice(plan.placement.nice)
        os.close(gate[1])
        os.read(gate[0], 1)  # returns when every other holder has closed it, also by dying
        os.close(gate[0])
        run_node(plan, node, sockets)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _redirect(path: Path) -> None:
    """Write to a log file, never to the runner's pipes."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def run_node(plan: Plan, node: NodePlan, sockets: Path) -> None:
    """Be one node from start to end, in this process."""
    began_cpu = time.process_time()
    folder = plan.node_folder(node)
    write_json(folder / "pid.json", {"pid": os.getpid()})
    identity, state = identity_of(folder), State(folder)
    transport = PynngTransport(_listen(plan, node, sockets), plan.mesh.max_message_bytes)
    recorder = Recorder(node.name, folder / "events.jsonl")
    epoch_s = time.time() - time.monotonic()
    machine = make_node(plan, node, identity, transport.address, epoch_s)
    machine.clock(time.monotonic())
    known = restore(machine, state.load())
    state.replace(entries_of(machine))
    ledger = Ledger(folder / LEDGER)
    host = MeshHost(
        machine, transport, recorder, lambda: [*addresses(plan.folder, node.name), *known], state,
        ledger,
    )  # fmt: skip
    _announce(folder, transport.address)
    host.note([{"event": "started", "id": machine.me.hex()}])
    host.start()
    participant = make_participant(plan, node, host)
    ask_long_slices()
    checkpoints = Checkpoints(folder / "fit.ckpt", plan.trainer.checkpoint_s, _NEVER)
    network = quietly(partial(fit, plan, node, keeping(plan, node, participant), checkpoints))
    if participant.synthesis is None:  # the fit had ended in an earlier life
        participant.exchange(plan.trainer.periods, network)
    weight = write_predictor(plan, node, participant, network)
    host.note([{"event": "finished"}])

    def result(everyone: bool | None) -> None:
        with host.paused():  # the mesh thread would change what is being counted
            write_result(
                plan, node, machine, participant, recorder,
                status="failed" if host.error else "finished", error=host.error,
                head_weight=weight, finished_s=finished_s, lingered=everyone, shed=transport.shed,
                cpu_s=time.process_time() - began_cpu, memory_mib=private_mib(),
            )  # fmt: skip

    finished_s = time.time()
    release()
    result(None)  # whatever happens while lingering, the training's result stands
    everyone = host.finish(plan.mesh.linger_s)
    host.close()
    ledger.close()
    state.close()
    result(everyone)
    recorder.close()


def _listen(plan: Plan, node: NodePlan, sockets: Path) -> str:
    if isinstance(plan.mesh, Tcp):
        return f"tcp://{plan.mesh.host}:0"
    return f"ipc://{sockets}/{node.index}"


def _announce(folder: Path, address: str) -> None:
    part = folder / "address.part"
    part.write_text(address + "\n")
    os.replace(part, folder / "address")


def addresses(run: Path, me: str) -> Sequence[str]:
    """Return the addresses that other nodes of a run have written, in a shuffled order."""
    found = []
    for path in (run / "nodes").glob("*/address"):
        if path.parent.name != me:
            try:
                found.append(path.read_text().strip())
            except OSError:
                continue  # a node that is being cleared away
    random.shuffle(found)
    return found


def _watch(children: dict[int, NodePlan], progress: Progress, began: float) -> dict[str, int]:
    """Wait for all children; return each node's exit status (negative: the signal)."""
    statuses: dict[str, int] = {}
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in children:
            statuses[children.pop(pid).name] = os.waitstatus_to_exitcode(status)
            continue
        progress(time.monotonic() - began)
        time.sleep(POLL_S)
    return statuses
