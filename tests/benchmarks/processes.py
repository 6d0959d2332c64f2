"""A real mesh of processes on this machine, routed by rings: recall of lookups, time to join.

    PYTHONPATH=. python tests/benchmarks/processes.py --peers 64

Each node is a process with a real pynng socket; eight kinds of data, dealt in turn.  They join one
after the other, each through one drawn at random; then all look for the ten nodes most alike, once
a period.  Prints one JSON object: of lookups begun after the last had published, the recall@10
against brute force (mean and least), requests, and milliseconds; and the seconds from a node's
start to the first answer of its lookup (but the very first, which is alone).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.dht.config import Rings
from qsynth.distill import distil, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.host.mesh_host import MeshHost
from qsynth.host.recorder import Recorder
from qsynth.identity import Identity
from qsynth.kernels import warm_up
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.tcp import Tcp
from qsynth.peers import make_peers
from qsynth.peers.semantic import Semantic
from qsynth.pipeline.publication import Publication
from qsynth.protocol.node import Node
from qsynth.records.service import Records
from qsynth.similarity import fingerprint, fingerprint_size
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.trust import Admission
from qsynth.trust.config import Checks
from qsynth.types import Task

KINDS, SIZE, CLASSES, SAMPLES = 8, 16, 3, 60
PERIODS, K, SETTLING = 6, 10, 2
PERIOD_S = 3.0  # all lookups of a period end within it


def serve(pipe: Any, number: int, folder: str, known: list[str], strategy: str) -> None:
    """Be one node until told to stop: no training, all the rest."""
    sketch = ClassSketch()
    task = Task("kinds", 1, ("a", "b", "c"), "vector", (SIZE,), "", 0.0, 1.0)
    means = np.random.default_rng(3).standard_normal((KINDS, CLASSES, SIZE)) * 2
    rng = np.random.default_rng([number, 2])
    y = np.arange(SAMPLES) % CLASSES
    x = (means[number % KINDS][y] + rng.standard_normal((SAMPLES, SIZE))).astype(np.float32)
    payload = distil(Analytic(), SIZE, x, None, y, CLASSES)
    read = read_evidence(payload).features
    own = fingerprint(sketch, read.counts, read.sums)
    admission = Admission(
        Checks(),
        task,
        task.digest(),
        b"e" * 16,
        read_evidence,
        lambda counts, sums: fingerprint(sketch, counts, sums),
    )
    transport = PynngTransport("tcp://127.0.0.1:0", Tcp().max_message_bytes)
    identity = Identity.random()
    node = Node(
        identity,
        transport.address,
        fingerprint_size(sketch, CLASSES),
        admission,
        make_peers(Semantic(k=K), number),
        Rings(strategy=strategy, quiet_periods=0),
        Tcp(),
        3600.0,
        time.time() - time.monotonic(),
        number,
        services=[Records],
    )
    recorder = Recorder(str(number), Path(folder) / f"{number}.jsonl")
    host = MeshHost(node, transport, recorder, lambda: known)
    recorder.write(time.time(), [{"event": "started", "id": identity.id.hex()}])
    host.end_period(0, Publication(payload, own, SAMPLES, own), 1.0)  # who it is, before it joins
    host.start()
    pipe.send(transport.address)
    period = 0
    while pipe.recv() == "period":
        period += 1
        host.end_period(period, None, 1.0)
        pipe.send(len(node.table))
    host.close()
    recorder.close()


def events_of(folder: str) -> list[dict[str, Any]]:
    """Return all that the nodes have recorded, in the order of time."""
    lines = [line for path in Path(folder).glob("*.jsonl") for line in path.open()]
    return sorted(map(json.loads, lines), key=lambda event: event["time"])


def summary(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return recall, requests and times."""
    prints, ids, started, first = {}, {}, {}, {}
    settled = max(e["time"] for e in events if e["event"] == "publish")
    for event in events:
        if event["event"] == "publish":
            prints[event["node"]] = np.frombuffer(bytes.fromhex(event["fingerprint"]), np.int8)
        elif event["event"] == "started":
            ids[event["node"]] = event["id"]
            started[event["node"]] = event["time"]
        elif event["event"] == "lookup" and event["found"]:
            first.setdefault(event["node"], event["time"])
    names = sorted(prints)
    matrix = np.stack([prints[n] for n in names]).astype(float)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    lookups = [e for e in events if e["event"] == "lookup" and e["began"] > settled + SETTLING]
    recalls = []
    for event in lookups:
        me = names.index(event["node"])
        scores = matrix @ matrix[me]
        best = [ids[names[row]] for row in np.argsort(-scores, kind="stable") if row != me][:K]
        recalls.append(len({i for i, _ in event["found"]} & set(best)) / K)
    joiners = sorted(started, key=started.__getitem__)[1:]  # the first one has whom to join later
    waits = [first[name] - started[name] for name in joiners if name in first]
    return {
        "lookups": len(lookups),
        "recall_mean": round(float(np.mean(recalls)), 4),
        "recall_least": min(recalls),
        "at_least_99": float(np.mean(np.array(recalls) >= 0.99)),
        "rpcs_mean": round(float(np.mean([e["rpcs"] for e in lookups])), 1),
        "lookup_ms": round(1e3 * float(np.mean([e["time"] - e["began"] for e in lookups])), 1),
        "joined": len(waits),
        "join_s_mean": round(float(np.mean(waits)), 3),
        "join_s_most": round(max(waits), 3),
    }


def main() -> None:
    """Start the nodes, let them look, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=int, default=64)
    parser.add_argument("--strategy", default="rings")
    given = parser.parse_args()
    warm_up()
    context, rng = multiprocessing.get_context("fork"), random.Random(0)
    pipes, addresses, contacts = [], [], [0]
    with tempfile.TemporaryDirectory(prefix="qs-") as folder:
        processes = []
        for number in range(given.peers):
            ours, theirs = context.Pipe()
            known = [rng.choice(addresses)] if addresses else []
            process = context.Process(
                target=serve, args=(theirs, number, folder, known, given.strategy), daemon=True
            )
            process.start()
            processes.append(process)
            pipes.append(ours)
            addresses.append(ours.recv())
        time.sleep(SETTLING)
        for _ in range(PERIODS):
            for pipe in pipes:
                pipe.send("period")
            contacts = [pipe.recv() for pipe in pipes]
            time.sleep(PERIOD_S)
        for pipe in pipes:
            pipe.send("stop")
        for process in processes:
            process.join(timeout=10.0)
        row = {"peers": given.peers, "strategy": given.strategy} | summary(events_of(folder))
    print(json.dumps(row | {"contacts_mean": round(float(np.mean(contacts)), 1)}), flush=True)


if __name__ == "__main__":
    main()
