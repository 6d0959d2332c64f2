"""A mesh of two versions: every node is stopped and started with the new one, one after the other.

    PYTHONPATH=. python tests/benchmarks/upgrade.py [--before COMMIT] [--nodes 8]

Nodes train as `qsynth node up` with the code of an earlier commit (by default the last one before
nodes were seen from outside), learn from each other, and are replaced on the same homes by the code
of this checkout.  Beside it the same nodes with the new code from the start.  Printed are refusals
by reason, what each node has lost, and the own test accuracy of both meshes.  It fails where
something is refused for its version, where an identity, a packet or a contact is lost, or where
accuracy differs by half a point or more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.evaluation.evaluate import Evaluator
from qsynth.experiment.build import build
from qsynth.experiment.summary import mesh_scores
from qsynth.recipe.compose import compose
from qsynth.report.events import read_events

ROOT = Path(__file__).resolve().parents[2]
BEFORE = "6430580"  # without `qsynth node status`, metrics, certificates taken up while running
PATIENCE_S = 400.0
SETTLE_S = 15.0
WORDS = [
    "+recipe=digits_mesh",
    "mesh=tcp",
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "trainer.period_steps=10",
    "trainer.max_steps=300",
    "fleet.cnn.count=0",
]
VERSIONED = ("protocol", "version", "malformed", "refused_malformed", "rejected_malformed")


@dataclass
class Member:
    """One node: its home, its place, and the process that it is now."""

    home: Path
    share: int
    port: int
    code: Path
    process: subprocess.Popen[bytes] | None = None
    lives: int = field(default=0)

    def start(self, code: Path, join: list[int], words: list[str]) -> None:
        """Begin a life with the code of a folder."""
        self.code, self.lives = code, self.lives + 1
        others = ",".join(f"tcp://127.0.0.1:{port}" for port in join if port != self.port)
        own = [f"mesh.listen=tcp://127.0.0.1:{self.port}", f"mesh.join=[{others}]"]
        command = [sys.executable, "-m", "qsynth", "node", "up", "--home", str(self.home)]
        with (self.home.parent / f"{self.home.name}-{self.lives}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--share", str(self.share), *words, *own],
                stdout=log,
                stderr=log,
                cwd=self.home.parent,
                env={**os.environ, "PYTHONPATH": str(code)},
            )

    def stop(self) -> None:
        """End it as an operator does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(PATIENCE_S) != 0:
            raise SystemExit(f"{self.home}: ended with {self.process.returncode}")

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return what it has recorded, of a kind."""
        paths = self.home.glob("nodes/*/events.jsonl")
        return [e for path in paths for e in read_events(path) if e["event"] == kind]

    def learns(self, since: float) -> bool:
        """Whether it has used packets of others since a time."""
        return any(e["used"] for e in self.events("synthesis") if e["time"] > since)

    def result(self) -> dict[str, Any]:
        """Return what it knows of itself."""
        path = next(self.home.glob("nodes/*/result.json"), None)
        return json.loads(path.read_text()) if path else {}


def until(done: Callable[[], bool], what: str, members: list[Member]) -> None:
    """Wait for something.  Raises SystemExit where it does not come, or a node has ended."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        for member in members:
            if member.process is not None and member.process.poll() is not None:
                raise SystemExit(f"{member.home}: has ended with {member.process.returncode}")
        if time.monotonic() > end:
            raise SystemExit(f"not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def mesh(folder: Path, code: Path, count: int, words: list[str]) -> list[Member]:
    """Start nodes, and wait until each has trained and learned from others."""
    folder.mkdir()
    ports = free_ports(count)
    members = [Member(folder / f"h{n}", n, port, code) for n, port in enumerate(ports)]
    for member in members:
        member.home.mkdir()
        member.start(code, ports[:3], words)
    until(lambda: all(m.events("finished") for m in members), "all have trained", members)
    until(lambda: all(m.learns(0.0) for m in members), "all learn from others", members)
    return members


def accuracy(members: list[Member], words: list[str], folder: Path) -> float:
    """Return the mean own test accuracy of the nodes' predictors, in percent."""
    plan = build(compose([*words, "baselines=[]"]).config, folder)
    evaluator, scores = Evaluator(plan), []
    for member in members:
        here = replace(plan, folder=member.home)
        node = here.nodes[member.share]
        scores.append(mesh_scores(here, [node], evaluator)[node.name].own)
    return 100.0 * float(np.mean(scores))


def roll(members: list[Member], words: list[str]) -> list[str]:
    """Replace each node by this checkout's code; return what was lost."""
    lost, ports = [], [member.port for member in members][:3]
    for member in members:
        before = member.result()
        version = max((e["version"] for e in member.events("publish")), default=0)
        member.stop()
        began = time.time()
        member.start(ROOT, ports, words)
        until(lambda m=member, t=began: m.learns(t), f"{member.home} learns again", members)
        started = {e["id"] for e in member.events("started")}
        if len(started) != 1:
            lost.append(f"{member.home.name}: its identity")
        if member.result()["admitted"] == 0 and not member.result()["authors"]:
            lost.append(f"{member.home.name}: the packets of {len(before['authors'])} authors")
        again = [e["version"] for e in member.events("publish") if e["time"] > began]
        if again and min(again) <= version:
            lost.append(f"{member.home.name}: the number of its last packet")
    return lost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", default=BEFORE)
    parser.add_argument("--nodes", type=int, default=8)
    given = parser.parse_args()
    words = [*WORDS, f"fleet.mlp.count={given.nodes - 2}", "fleet.linear.count=2"]
    every: list[Member] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        old = folder / "old"
        old.mkdir()
        packed = subprocess.run(
            ["git", "-C", str(ROOT), "archive", given.before], check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(old)], input=packed.stdout, check=True)
        try:
            every += (members := mesh(folder / "rolled", old, given.nodes, words))
            lost = roll(members, words)
            time.sleep(SETTLE_S)
            for member in members:
                member.stop()
            every += (fresh := mesh(folder / "fresh", ROOT, given.nodes, words))
            time.sleep(SETTLE_S)
            for member in fresh:
                member.stop()
            refused: Counter[str] = Counter()
            for member in members:
                counts = member.result()["counts"] | member.result()["rejected"]
                refused.update({k: v for k, v in counts.items() if "reject" in k or k in VERSIONED})
            rolled, plain = (accuracy(each, words, folder / "plan") for each in (members, fresh))
        finally:
            for member in every:
                if member.process is not None and member.process.poll() is None:
                    member.process.kill()
                    member.process.wait()
    print(f"rolled through {given.nodes} nodes, from {given.before}")
    print(f"refused: {dict(refused) or 'nothing'}; lost: {lost or 'nothing'}")
    print(f"own accuracy: {rolled:.1f} rolled, {plain:.1f} with one version from the start")
    wrong = [reason for reason in refused if reason in VERSIONED]
    if lost or wrong or abs(rolled - plain) >= 0.5:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
