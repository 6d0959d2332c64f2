"""What a scheduler runs on a machine of a cluster: a process that holds nodes, started again.

Small on purpose: it waits beside the nodes as long as they live, so it must not import torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What would make Lightning, torch or Ray take a node for a rank of one distributed training.
OTHERS = ("SLURM_", "SUBMITIT_", "PMI", "RAY_")
BACKOFF_S = 1.0
GRACE_S = 120.0
# Of this very Python; -P: nothing of the folder that it is started in is imported.
QSYNTH = (sys.executable, "-P", "-m", "qsynth")
TAKEN = 75  # of `qsynth part`: other processes have its nodes (EX_TEMPFAIL of sysexits.h)


@dataclass(frozen=True)
class Task:
    """Hold nodes of a run by `qsynth part`, and start it again where it was killed.

    folder: of the run.  work: the folder to run in.  path: for imports beside the usual ones.
    log: where its output goes; None: to this process's.
    """

    folder: str
    nodes: tuple[str, ...]
    work: str
    path: str = ""
    restarts: int = 5
    log: str | None = None

    def __call__(self) -> int:
        """Hold the nodes until they end; return the exit code, negative for a signal."""
        code = self._once()
        for again in range(self.restarts):
            if code >= 0 and code != TAKEN:
                break
            told = f"qsynth part: ended with {code}; started again ({again + 1})"
            print(told, file=sys.stderr, flush=True)
            # Asked to end: a scheduler that preempts kills this process next, and queues the task
            # anew; one that had ended by itself it would not.
            time.sleep(GRACE_S if code == -signal.SIGTERM else BACKOFF_S)
            code = self._once()
        return code

    def checkpoint(self) -> Any:
        """Return what is to be run after a preemption: the same; all state is in the run's folder.

        Called by submitit, whose own type is asked for.
        """
        submitit: Any = sys.modules["submitit"]
        return submitit.helpers.DelayedSubmission(self)

    def command(self) -> list[str]:
        """Return the command that holds the nodes; it ends with this process."""
        return [*QSYNTH, "part", self.folder, *self.nodes, "--mine", "--mortal"]

    def _once(self) -> int:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)}
        if self.path:
            environment["PYTHONPATH"] = self.path
        log = open(self.log, "ab") if self.log else None
        try:
            return subprocess.run(
                self.command(),
                cwd=self.work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=False,
            ).returncode
        finally:
            if log is not None:
                log.close()


def part_file(folder: Path, nodes: tuple[str, ...]) -> Path:
    """Return the file in which a part tells how its nodes have ended, once they have."""
    return folder / "parts" / f"{nodes[0]}.json"
