"""A node in a process of its own that says what it does, for benchmarks that kill and divide.

    PYTHONPATH=. python tests/benchmarks/lives.py --home FOLDER [--join ADDRESS] [--listen ADDRESS]

It publishes something new every so often, fetches, looks up, and prints a JSON line for each thing
once it is written down.  Nothing is trained.  With a certificate in FOLDER/tls it speaks TLS.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.dht.config import Rings
from qsynth.distill import distil, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.host.mesh_host import MeshHost
from qsynth.host.recorder import Recorder
from qsynth.identity.file import identity_of
from qsynth.kernels import warm_up
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.tcp import Tcp
from qsynth.mesh.tls import Tls
from qsynth.peers import make_peers
from qsynth.peers.semantic import Semantic
from qsynth.pipeline.publication import Publication
from qsynth.protocol.journal import State
from qsynth.protocol.node import Node
from qsynth.protocol.restore import entries_of, restore
from qsynth.records.service import Records
from qsynth.similarity import fingerprint, fingerprint_size
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.trust import Admission
from qsynth.trust.config import Checks
from qsynth.types import Task

SIZE, CLASSES, SAMPLES = 16, 3, 60
PATIENCE_S = 60.0


def say(kind: str, **fields: Any) -> None:
    """Print a line at once: it must be out before the next thing happens."""
    print(json.dumps({"kind": kind, **fields}), flush=True)


def publication(number: int) -> Publication:
    """Return what a node publishes in one period: each time a little else."""
    sketch, rng = ClassSketch(), np.random.default_rng(number)
    y = np.arange(SAMPLES) % CLASSES
    means = np.random.default_rng(3).standard_normal((CLASSES, SIZE)) * 2
    x = (means[y] + 0.3 * rng.standard_normal((SAMPLES, SIZE))).astype(np.float32)
    payload = distil(Analytic(), SIZE, x, None, y, CLASSES)
    read = read_evidence(payload).features
    own = fingerprint(sketch, read.counts, read.sums)
    return Publication(payload, own, SAMPLES, own)


def live(home: Path, join: str, seed: int, listen: str, every_s: float) -> None:
    """Be the node until killed: a period every `every_s` seconds."""
    began, sketch = time.monotonic(), ClassSketch()
    task = Task("kinds", 1, ("a", "b", "c"), "vector", (SIZE,), "", 0.0, 1.0)
    admission = Admission(
        Checks(),
        task,
        b"t" * 16,
        b"e" * 16,
        read_evidence,
        lambda counts, sums: fingerprint(sketch, counts, sums),
    )
    identity, state = identity_of(home), State(home)
    tls = Tls(home / "tls") if (home / "tls").exists() else None
    if tls is not None:
        listen = f"tls+{listen}"
    transport = PynngTransport(listen, Tcp().max_message_bytes, tls)
    node = Node(
        identity,
        transport.address,
        fingerprint_size(sketch, CLASSES),
        admission,
        make_peers(Semantic(min_similarity=0.0), seed),
        Rings(),
        Tcp(),
        86400.0,
        time.time() - time.monotonic(),
        seed,
        None,
        tls.vouchers if tls else None,
        services=[Records],
    )
    node.clock(time.monotonic())
    restore(node, state.load())
    state.replace(entries_of(node))
    held = {author.hex(): entry.packet.sequence for author, entry in node.held.items()}
    say(
        "started",
        id=identity.id.hex(),
        address=transport.address,
        sequence=node.sequence,
        held=held,
    )
    recorder = Recorder(identity.id.hex()[:8], None, watched=True)
    host = MeshHost(node, transport, recorder, lambda: [join] if join else [], state)
    threading.Thread(target=warm_up, daemon=True).start()
    host.start()
    period, answered = seed * 1_000_000, False
    while True:
        host.end_period(period, publication(period), 1.0)
        host.check()
        # What stands in the records has been written to the journal before.
        for record in recorder.news():
            if record["event"] in ("publish", "admit"):
                say(record["event"], version=record["version"], author=record.get("author"))
            elif record["event"] == "lookup":
                if record["found"] and not answered:
                    answered = True
                    say("answered", ms=1000 * (time.monotonic() - began))
                at = record["time"]
                say(
                    "lookup",
                    at=at,
                    ms=1000 * (at - record["began"]),
                    found=[entry[0] for entry in record["found"]],
                )
        period += 1
        time.sleep(every_s)


class Life:
    """One life of a process: what it has said."""

    def __init__(self, home: Path, join: str, seed: int, *words: str, within: Any = ()) -> None:
        command = [
            *within,
            sys.executable,
            __file__,
            "--home",
            str(home),
            "--join",
            join,
            "--seed",
            str(seed),
            *words,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.lines.append(json.loads(line))

    def wait(self, kind: str) -> dict[str, Any] | None:
        """Return the first line of a kind, or None where the process has ended."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for line in list(self.lines):
                if line["kind"] == kind:
                    return line
            if self.process.poll() is not None:
                return None
            time.sleep(0.005)
        raise SystemExit(f"kills: never said {kind}: {self.lines}")

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        time.sleep(0.02)  # the last of its lines


def main() -> int:
    """Be a node."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--join", default="")
    parser.add_argument("--listen", default="tcp://127.0.0.1:0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=0.05)
    options = parser.parse_args()
    live(options.home, options.join, options.seed, options.listen, options.every)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
