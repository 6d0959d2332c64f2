"""The placement `slurm`: tasks of a job array, submitted through submitit; Slurm requeues them.

The runner submits and watches.  Without it the array goes on: a preempted task, or one whose
machine is lost, comes back by Slurm itself, with its nodes' identities and state from the run's
folder; a task that has failed otherwise is requeued by the runner.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError

from qsynth.errors import MeshError
from qsynth.placement.base import Spec
from qsynth.placement.cluster import LOST, keep, kept, tasks_of, told
from qsynth.training.plan import RunPlan

SIGNAL_S = 30  # between the signal of a time limit and the end
ASK_S = 2.0  # between two questions to the scheduler
SETTLED_S = 10.0  # until what a requeued task was before is not taken for what it is
SILENT_S = 20.0  # until a task that has ended without a word is given up: files travel slowly
WAITING = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "RUNNING",
        "COMPLETING",
        "SUSPENDED",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
        "STOPPED",
        "SPECIAL_EXIT",
        "RESV_DEL_HOLD",
    }
)


@dataclass
class _Queued:
    """A task in the queue: its job, its nodes, how often the runner has requeued it."""

    job: str
    nodes: tuple[str, ...]
    requeued: int = 0
    believed_from: float = 0.0  # until then its state is that of before it was requeued
    silent_since: float | None = None
    state: str | None = None
    codes: dict[str, int] | None = None


class SlurmPlacement:
    """Submit tasks to Slurm, and watch them."""

    def __init__(self, plan: RunPlan) -> None:
        self.plan = plan
        self._folder = plan.folder / "slurm"
        self._tasks: list[_Queued] = []
        self._asked = 0.0

    def launch(self, spec: Spec) -> None:
        """Submit a job array; what an earlier runner has submitted and still lives is kept."""
        if not self._tasks:
            self._tasks = self._kept()
        held = {name for task in self._tasks if task.codes is None for name in task.nodes}
        missing = tuple(name for name in spec.nodes if name not in held)
        if missing:
            self._tasks += self._submitted(Spec(spec.folder, missing))
            keep(self.plan.folder, [(task.job, task.nodes) for task in self._tasks])

    def poll(self) -> dict[str, int | None]:
        """Return an exit code by node; None while its task runs or waits in the queue."""
        if time.monotonic() >= self._asked:
            self._asked = time.monotonic() + ASK_S
            self._ask()
        found: dict[str, int | None] = {}
        for task in self._tasks:
            if task.codes is None:
                task.codes = told(self.plan.folder, task.nodes)
            found |= dict.fromkeys(task.nodes) if task.codes is None else task.codes
        return found

    def stop(self) -> None:
        """Cancel all that is in the queue."""
        jobs = [task.job for task in self._tasks if task.codes is None]
        if jobs:
            # At once: submitit's process would sit out the time that others are given to end.
            _slurm("scancel", "--signal=KILL", "--full", *jobs)
            _slurm("scancel", *jobs)
        keep(self.plan.folder, [])

    def logs(self, node: str) -> list[Path]:
        """Return what a node's task and the node itself have written."""
        jobs = [task.job for task in self._tasks if node in task.nodes]
        paths = [submitit.core.utils.JobPaths(self._folder, job).stderr for job in jobs]
        return [*paths, self.plan.folder / "nodes" / node / "log.txt"]

    def _submitted(self, spec: Spec) -> list[_Queued]:
        placement = self.plan.placement
        tasks = tasks_of(self.plan, spec, logs=False)
        try:
            executor = submitit.SlurmExecutor(self._folder, max_num_timeout=placement.restarts)
            executor.update_parameters(
                job_name=f"qsynth-{self.plan.name}",
                time=placement.time_min,
                nodes=1,
                ntasks_per_node=1,
                cpus_per_task=placement.cpus_per_task,
                mem=f"{max(1, round(1024 * placement.memory_gb))}M",
                signal_delay_s=SIGNAL_S,
                partition=placement.partition or None,
                account=placement.account or None,
                # All tasks may run at once: nodes that wait for a core learn from nobody.
                array_parallelism=len(tasks),
                additional_parameters={"requeue": True, **placement.arguments},
            )
            with executor.batch():
                jobs = [executor.submit(task) for task in tasks]
        except (RuntimeError, OSError, FailedJobError, subprocess.SubprocessError) as error:
            told_by = getattr(error, "stderr", None) or str(error)
            line = str(told_by).strip().splitlines()[-1:] or ["sbatch has failed"]
            raise MeshError(f"placement=slurm: {line[0]}") from None
        return [_Queued(job.job_id, task.nodes) for job, task in zip(jobs, tasks, strict=True)]

    def _kept(self) -> list[_Queued]:
        """Return tasks of an earlier runner that have not ended."""
        tasks = [_Queued(job, nodes) for job, nodes in kept(self.plan.folder)]
        states = _states([task.job for task in tasks]) if tasks else {}
        return [task for task in tasks if states.get(task.job) in WAITING - {"COMPLETING"}]

    def _ask(self) -> None:
        open_tasks = [task for task in self._tasks if task.codes is None]
        states = _states([task.job for task in open_tasks]) if open_tasks else {}
        for task in open_tasks:
            state, now = states.get(task.job), time.monotonic()
            if state != task.state:
                task.state = state
                self._note(f"{task.job} ({', '.join(task.nodes)}): {state or 'gone'}")
            if state in WAITING or now < task.believed_from:
                task.silent_since = None
                continue
            task.silent_since = task.silent_since or now
            if state in (None, "COMPLETED") and now < task.silent_since + SILENT_S:
                continue  # what it has told may be on its way
            if told(self.plan.folder, task.nodes) is None:
                self._again(task, state or "gone")

    def _again(self, task: _Queued, state: str) -> None:
        """Requeue a task that has ended before its nodes, or give it up; say so either way."""
        task.silent_since = None
        allowed = not state.startswith("CANCELLED") and task.requeued < self.plan.placement.restarts
        done = _slurm("scontrol", "requeue", task.job) if allowed else None
        if done is not None and done.returncode == 0:
            task.requeued += 1
            task.believed_from = time.monotonic() + SETTLED_S
            self._note(f"{task.job} ({', '.join(task.nodes)}): {state}; requeued")
            return
        reason = "" if done is None else f"; {done.stderr.strip()}"
        self._note(f"{task.job} ({', '.join(task.nodes)}): {state}; given up{reason}")
        task.codes = dict.fromkeys(task.nodes, LOST)

    def _note(self, line: str) -> None:
        with contextlib.suppress(OSError), (self._folder / "watched.log").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}\n")


def _states(jobs: list[str]) -> dict[str, str]:
    """Return the state of each job that Slurm still knows; a question unanswered tells nothing."""
    bare = sorted({job.partition("_")[0] for job in jobs})
    done = _slurm(
        "squeue",
        "--noheader",
        "--array",
        "--states=all",
        "--format=%i %T",
        "--jobs=" + ",".join(bare),
    )
    if done.returncode and "Invalid job id" not in done.stderr:
        return dict.fromkeys(jobs, "RUNNING")  # the controller does not answer: it may yet
    pairs = [line.split() for line in done.stdout.splitlines()]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _slurm(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        raise MeshError(f"placement=slurm: {words[0]} is not here; is this a login node?") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))
