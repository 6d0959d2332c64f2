"""An actor that holds nodes.  Small on purpose: it lives beside them, without torch."""

from __future__ import annotations

import sys
import threading

import ray

from qsynth.placement.supervisor import Task


class Holder:
    """Hold nodes by a task; Ray places it, and makes it again where its machine is lost.

    Once its nodes have ended it leaves by itself, whoever watches or does not.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.code: int | None = None
        self._me = ray.get_runtime_context().current_actor
        # The thread lives as long as its child, which ends with the thread that has started it.
        threading.Thread(target=self._hold, name="task", daemon=True).start()

    def poll(self) -> int | None:
        """Return the exit code of the task; None while it runs."""
        return self.code

    def leave(self) -> None:
        """End for good: no core of the cluster is held any more."""
        ray.actor.exit_actor()

    def _hold(self) -> None:
        try:
            self.code = self.task()
        except OSError as error:
            print(f"qsynth part: {error}", file=sys.stderr, flush=True)
            self.code = 1
        self._me.leave.remote()
