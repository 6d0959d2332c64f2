"""Real nodes that train, each as `qsynth node up` runs it, forked after one warm import.

For benchmarks that kill, pause and watch them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.evaluation.evaluate import Evaluator
from qsynth.experiment.build import build
from qsynth.experiment.summary import mesh_scores
from qsynth.host.daemon import card_of, run_one
from qsynth.host.log import Log, LogOptions
from qsynth.host.server import Serving, Settings
from qsynth.placement.processes import warm
from qsynth.recipe.compose import compose
from qsynth.report.events import read_events
from qsynth.training.fit import single_threaded
from qsynth.training.plan import RunPlan

PATIENCE_S = 60.0


@dataclass
class Member:
    """A process that is one node.  ended: seconds since the epoch, where it was killed."""

    share: int
    home: Path
    pid: int
    began: float
    ended: float | None = None

    def address(self) -> str:
        """Wait until it listens, and return where."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                for line in (self.home / "said").read_text().splitlines():
                    if "listens at" in line:
                        return line.split()[-1]
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit(f"{self.home}: never listened")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.ended is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.ended = time.time()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return what it has recorded, of a kind."""
        paths = self.home.glob("nodes/*/events.jsonl")
        return [e for path in paths for e in read_events(path) if e["event"] == kind]

    def trained(self) -> float | None:
        """Return when it had trained, None where it has not."""
        times = [event["time"] for event in self.events("finished")]
        return times[0] if times else None


class Fleet:
    """Members below one folder."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.folder, self.members = folder, list[Member]()
        self.plan: RunPlan = build(compose([*words, "mesh=tcp", "baselines=[]"]).config, folder)
        single_threaded()
        warm(self.plan)

    def begin(self, share: int, through: list[str], home: Path | None = None) -> Member:
        """Fork a node with the data of a share, that joins through some addresses.

        home: of an earlier life, to go on from.
        """
        home = home or self.folder / f"{len(self.members):04d}"
        home.mkdir(exist_ok=True)
        began = time.time()
        pid = os.fork()
        if pid == 0:
            _be(self.plan, share, home, through)
        member = Member(share, home, pid, began)
        self.members.append(member)
        return member

    def start(self) -> None:
        """Begin one node a share."""
        addresses: list[str] = []
        for share in range(len(self.plan.nodes)):
            addresses.append(self.begin(share, addresses[-3:]).address())

    @property
    def alive(self) -> list[Member]:
        """Return who has not been killed."""
        return [member for member in self.members if member.ended is None]

    def settle(self, seconds: float) -> None:
        """Wait until all have trained, so long at most."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not all(m.trained() for m in self.alive):
            time.sleep(0.5)

    def own(self, members: list[Member]) -> float:
        """Return the mean own test accuracy of members' predictors."""
        scores, evaluator = [], Evaluator(self.plan)
        for member in members:
            if (
                member.home / "nodes" / self.plan.nodes[member.share].name / "predictor.pt"
            ).exists():
                plan = replace(self.plan, folder=member.home)
                node = plan.nodes[member.share]
                scores.append(mesh_scores(plan, [node], evaluator)[node.name].own)
        return float(np.mean(scores))

    def close(self) -> None:
        """Kill all."""
        for member in self.members:
            member.kill()


def _be(plan: RunPlan, share: int, home: Path, through: list[str]) -> None:
    status = 1
    try:
        os.setsid()
        log = os.open(home / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        mesh = replace(plan.mesh, join=tuple(through))
        plan = replace(plan, folder=home, mesh=mesh)
        settings = Settings(plan.rules, plan.trust, plan.peers, plan.dht, mesh)
        node = plan.nodes[share]
        lines = Log(LogOptions(file=str(home / "said")), quiet=True)
        serving = Serving(card_of(plan, node, b""), settings, home, lines)
        run_one(plan, node, serving, None)
        serving.close()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
