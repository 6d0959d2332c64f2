"""Flood a node with rubbish at full speed: what its memory and others' lookups come to.

    PYTHONPATH=. python tests/benchmarks/flood.py [--seconds 60] [--peers 4]

Five nodes of a mesh in processes of their own; first nobody disturbs them, then `--peers` processes
send rubbish to one of them without a pause: random bytes, frames cut short, frames of
thousands of messages, empty envelopes.
Prints one JSON object: the resident memory of that node before and after, and the 99th percentile
of the others' lookups, in milliseconds, idle and meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pynng
from lives import Life

from qsynth.identity import Identity
from qsynth.mesh.config import Tcp
from qsynth.mesh.rpc import Rpc

NODES, PERIOD_S = 5, 0.2
SETTLING_S = 10.0


def rubbish(address: str, seed: int) -> None:
    """Send until killed."""
    rng = np.random.default_rng(seed)
    rpc = Rpc(Identity.seeded("flood", seed).id, Tcp(max_pending=10**9), seed)
    with pynng.Pair1(send_timeout=1000) as socket:
        socket.dial(address, block=True)
        while True:
            kind = int(rng.integers(4))
            body = rng.bytes(int(rng.integers(1, 8000)))
            if kind == 1:
                body = b"\x05" + body
            elif kind == 3:
                body = b"\x05" + b"\x01\x00\x00\x00x" * 13_000  # as many messages as fit
            elif kind == 2:
                (send,) = rpc.request(0.0, address, "similar", body, None)
                body = b"\x01" + send.payload
            try:
                socket.send(body)
            except pynng.NNGException:
                time.sleep(0.001)


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(seconds: float, peers: int) -> dict[str, Any]:
    """Return memory and lookups, idle and flooded."""
    context = multiprocessing.get_context("spawn")
    flood: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        lives: list[Life] = []
        try:
            for number in range(NODES):
                first = lives[0].lines[0]["address"] if lives else ""
                lives.append(Life(Path(folder) / str(number), first, number + 1,
                                  "--every", str(PERIOD_S)))  # fmt: skip
                lives[-1].wait("started")
            time.sleep(SETTLING_S)
            idle = time.time()
            time.sleep(seconds / 2)
            before = resident_mib(lives[0].process.pid)
            flooded = time.time()
            address = lives[0].lines[0]["address"]
            for seed in range(peers):
                flood.append(context.Process(target=rubbish, args=(address, seed), daemon=True))
                flood[-1].start()
            time.sleep(seconds)
            ended = time.time()
            after = resident_mib(lives[0].process.pid)
        finally:
            for process in flood:
                process.kill()
            for life in lives:
                life.kill()
    quiet, loud = (
        [x["ms"] for life in lives[1:] for x in life.lines
         if x["kind"] == "lookup" and since < x["at"] < until]
        for since, until in ((idle, flooded), (flooded + 2.0, ended))
    )  # fmt: skip
    p99 = [float(np.percentile(times, 99)) for times in (quiet, loud)]
    return {
        "peers": peers, "seconds": seconds, "mib_before": round(before, 1),
        "mib_after": round(after, 1), "mib_grown": round(after - before, 1),
        "lookups_idle": len(quiet), "lookups_flooded": len(loud),
        "p99_ms_idle": round(p99[0], 1), "p99_ms_flooded": round(p99[1], 1),
        "p99_ratio": round(p99[1] / p99[0], 2),
    }  # fmt: skip


def main() -> int:
    """Flood, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--peers", type=int, default=4)
    options = parser.parse_args()
    print(json.dumps(measure(options.seconds, options.peers)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
