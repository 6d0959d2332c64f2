"""Commands of qsynth as processes of their own, forked from one that has imported what they need.

The import of torch and Lightning takes longer than most of what such a test looks at.  The process
they are forked from has imported modules and done nothing else: it has no thread and no socket.
What looks at the start of a process itself starts `python -m qsynth`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import IO

HEAVY = (
    "qsynth.experiment.execute",
    "qsynth.report.estimate",
    "qsynth.experiment.summary",
    "qsynth.report.page",
    "qsynth.host.daemon",
    "qsynth.placement.processes",
    "qsynth.simulation.batched",
    "qsynth.recipe.compose",
    "qsynth.data.load",
    "qsynth.model.make",
    "qsynth.encoder.base",
    "qsynth.mesh.pynng_transport",
    "qsynth.cli.run",
    "numba.typed",
    "sklearn.datasets",
    "matplotlib.pyplot",
)
ENDED_S = 240.0


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(HEAVY))
    return context


def _answer(words: list[str], out: str, err: str, folder: str, environment: dict[str, str]) -> None:
    """Be `qsynth WORDS`, with these files for what is printed."""
    from qsynth.cli.main import main

    missing = [name for name in HEAVY if name not in sys.modules]
    assert not missing, f"imported for each command anew: {missing}"
    os.chdir(folder)
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    for number, path in ((1, out), (2, err)):
        opened = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    sys.argv = ["qsynth", *words]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())


class Command:
    """A command under way, with the methods of a `subprocess.Popen`.

    Args:
        words: the words after `qsynth`.
        log: a file for both streams; without it each is kept, for `communicate`.
        folder: where it runs; without it, here.
        environment: more of it.
    """

    def __init__(
        self,
        *words: str,
        log: IO[str] | None = None,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.words = words
        if log is None:
            self._kept = [tempfile.NamedTemporaryFile("r", prefix="qsynth-") for _ in range(2)]
            out, err = (file.name for file in self._kept)
        else:
            out = err = log.name
        told = {**os.environ, **(environment or {})}
        self._process = _context().Process(
            target=_answer, args=(list(words), out, err, str(folder or Path.cwd()), told)
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal that has ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = ENDED_S) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.words, timeout)
        return self._process.exitcode

    def communicate(self, timeout: float = ENDED_S) -> tuple[str, str]:
        """Wait for the end, and return what it printed."""
        self.wait(timeout)
        out, err = (Path(file.name).read_text() for file in self._kept)
        return out, err

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def answered(
    *words: str, folder: Path | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = Command(*words, folder=folder, environment=environment)
    try:
        out, err = command.communicate()
    finally:
        command.kill()
    return subprocess.CompletedProcess(words, command.wait(), out, err)
