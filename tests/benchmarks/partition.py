"""Cut a mesh in two and heal it, in network namespaces of its own: both halves must go on.

    PYTHONPATH=. python tests/benchmarks/partition.py [--nodes 12] [--cut 60] [--heal 60]

Needs the right to make network namespaces.  Half of the nodes live in each of two, which one cable
joins; it is pulled for `--cut` seconds.  Prints one JSON object: lookups of each half while it was
cut, the seconds after healing until every node has met the other half in a lookup again, and how
often a packet was admitted twice by one node.  Real processes and TCP; nothing is trained.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lives import Life

PERIOD_S = 1.0
SETTLING_S = 25.0


def ip(*words: str) -> None:
    """Run `ip`."""
    subprocess.run(["ip", *words], check=True)


@contextlib.contextmanager
def namespaces() -> Iterator[tuple[str, str]]:
    """Make two namespaces that one cable joins, and take them away again."""
    names = f"qs{os.getpid()}a", f"qs{os.getpid()}b"
    ends = f"v{os.getpid()}a", f"v{os.getpid()}b"
    made: list[str] = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
        ip(
            "link",
            "add",
            ends[0],
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            ends[1],
            "netns",
            names[1],
        )
        for number, (name, end) in enumerate(zip(names, ends, strict=True)):
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"10.77.{number}.1/16", "dev", end)
            ip("-n", name, "link", "set", end, "up")
        yield names
    finally:
        for name in made:
            ip("netns", "del", name)


def measure(nodes: int, cut_s: float, heal_s: float) -> dict[str, Any]:
    """Return what became of a mesh that was cut in two."""
    with namespaces() as names, tempfile.TemporaryDirectory() as folder:
        cable = ("-n", names[0], "link", "set", f"v{os.getpid()}a")
        lives: list[Life] = []
        try:
            first = ""
            for number in range(nodes):
                half = number % 2
                life = Life(
                    Path(folder) / str(number),
                    first,
                    number + 1,
                    "--listen",
                    f"tcp://10.77.{half}.1:{7700 + number}",
                    "--every",
                    str(PERIOD_S),
                    within=("ip", "netns", "exec", names[half]),
                )
                lives.append(life)
                started = life.wait("started")
                assert started is not None
                first = first or started["address"]
            ids = [next(x["id"] for x in life.lines if x["kind"] == "started") for life in lives]
            time.sleep(SETTLING_S)
            before = _crossing(lives, ids, 0.0, time.time())
            ip(*cable, "down")
            cut = time.time()
            time.sleep(cut_s)
            ip(*cable, "up")
            healed = time.time()
            time.sleep(heal_s)
        finally:
            for life in lives:
                life.kill()
        went_on = [
            sum(x["kind"] == "lookup" and cut + 5.0 < x["at"] < healed for x in life.lines)
            for life in lives
        ]
        again = _crossing(lives, ids, healed, healed + heal_s)
        twice = 0
        for life in lives:
            admitted = [(x["author"], x["version"]) for x in life.lines if x["kind"] == "admit"]
            twice += len(admitted) - len(set(admitted))
    return {
        "nodes": nodes,
        "crossing_before": sum(t is not None for t in before),
        "lookups_while_cut": [sum(went_on[0::2]), sum(went_on[1::2])],
        "least_lookups_of_a_node": min(went_on),
        "crossing_after": sum(t is not None for t in again),
        "one_again_s": None if None in again else round(max(t for t in again if t is not None), 1),
        "admitted_twice": twice,
    }


def _crossing(lives: list[Life], ids: list[str], since: float, until: float) -> list[float | None]:
    """Return for each node after how many seconds a lookup has found one of the other half."""
    met: list[float | None] = []
    for number, life in enumerate(lives):
        others = set(ids[1 - number % 2 :: 2])
        times = [
            x["at"] - since
            for x in life.lines
            if x["kind"] == "lookup" and since < x["at"] < until and others & set(x["found"])
        ]
        met.append(min(times, default=None))
    return met


def main() -> int:
    """Cut, heal, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=12)
    parser.add_argument("--cut", type=float, default=60.0)
    parser.add_argument("--heal", type=float, default=60.0)
    options = parser.parse_args()
    made = measure(options.nodes, options.cut, options.heal)
    print(json.dumps(made))
    return int(made["admitted_twice"] > 0 or made["one_again_s"] is None)


if __name__ == "__main__":
    raise SystemExit(main())
