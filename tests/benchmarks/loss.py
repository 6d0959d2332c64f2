"""A mesh over links that lose a share of all packets, in network namespaces of its own.

    PYTHONPATH=. python tests/benchmarks/loss.py [--nodes 12] [--loss .2] [--seconds 60]

Needs the right to make network namespaces.  Each node lives in one; their cables end in a switch,
a process here that drops frames by a seeded draw: no kernel module is asked for.  Real processes
and TCP; nothing is trained.  A lookup has succeeded when its answer holds at least half of the
contacts that it looks for.  Prints one JSON object.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import fcntl
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lives import Life
from partition import ip

from qsynth.peers.semantic import Semantic

PERIOD_S = 1.0
SETTLING_S = 20.0
SIOCETHTOOL = 0x8946
CHECKSUMS, SEGMENTS = 0x17, 0x24  # ETHTOOL_STXCSUM, ETHTOOL_SGSO
EVERY_PROTOCOL = 3  # ETH_P_ALL
FRAME_BYTES = 65536


def plain(device: str) -> None:
    """Let a cable's end send whole frames with checksums: what is carried by hand needs them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for command in (CHECKSUMS, SEGMENTS):
            value = array.array("B", struct.pack("II", command, 0))
            asked = struct.pack("16sP", device.encode(), value.buffer_info()[0])
            fcntl.ioctl(asking, SIOCETHTOOL, asked)


def switch(devices: list[str], loss: float, seed: int) -> None:
    """Carry frames between devices until killed; lose a share of them."""
    rng, places = random.Random(seed), dict[bytes, socket.socket]()
    ports = []
    for device in devices:
        port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL))
        port.bind((device, 0))
        ports.append(port)
    carried = lost = 0
    print("ready", flush=True)
    while True:
        for port in select.select(ports, [], [], 1.0)[0]:
            frame, about = port.recvfrom(FRAME_BYTES)
            if about[2] == socket.PACKET_OUTGOING:
                continue
            places[frame[6:12]] = port
            if rng.random() < loss:
                lost += 1
                continue
            carried += 1
            known = places.get(frame[:6])
            for other in [known] if known else ports:
                if other is not port:
                    with contextlib.suppress(OSError):  # its queue is full: lost as well
                        other.send(frame)
            if carried % 1000 == 0:
                print(json.dumps({"carried": carried, "lost": lost}), flush=True)


@contextlib.contextmanager
def star(count: int, loss: float) -> Iterator[tuple[list[str], subprocess.Popen[str]]]:
    """Make a namespace a node, all cabled to one switch; take it all away again."""
    tag, made = f"qs{os.getpid()}", list[str]()
    process = None
    try:
        ip("netns", "add", f"{tag}s")
        made.append(f"{tag}s")
        for number in range(count):
            name = f"{tag}n{number}"
            ip("netns", "add", name)
            made.append(name)
            ip(
                "link",
                "add",
                "eth0",
                "netns",
                name,
                "type",
                "veth",
                "peer",
                "name",
                f"p{number}",
                "netns",
                f"{tag}s",
            )
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"10.78.0.{number + 1}/24", "dev", "eth0")
            subprocess.run(
                ["ip", "netns", "exec", name, sys.executable, __file__, "--plain"], check=True
            )
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", f"{tag}s", "link", "set", f"p{number}", "up")
        command = [
            "ip",
            "netns",
            "exec",
            f"{tag}s",
            sys.executable,
            __file__,
            "--switch",
            str(count),
            "--loss",
            str(loss),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield made[1:], process
    finally:
        if process is not None:
            process.kill()
            process.wait()
        for name in made:
            ip("netns", "del", name)


def measure(nodes: int, loss: float, seconds: float) -> dict[str, Any]:
    """Return what became of the lookups of a mesh."""
    wanted = min(Semantic().k, nodes - 1) / 2.0
    with star(nodes, loss) as (names, process), tempfile.TemporaryDirectory() as folder:
        lives: list[Life] = []
        try:
            first = ""
            for number, name in enumerate(names):
                life = Life(
                    Path(folder) / str(number),
                    first,
                    number + 1,
                    "--listen",
                    f"tcp://10.78.0.{number + 1}:7700",
                    "--every",
                    str(PERIOD_S),
                    within=("ip", "netns", "exec", name),
                )
                lives.append(life)
                started = life.wait("started")
                assert started is not None
                first = first or started["address"]
            time.sleep(SETTLING_S)
            since = time.time()
            time.sleep(seconds)
        finally:
            for life in lives:
                life.kill()
        process.kill()
        assert process.stdout is not None
        counted = json.loads(process.stdout.read().strip().splitlines()[-1])
    told = [x for life in lives for x in life.lines if x["kind"] == "lookup" and x["at"] > since]
    good = sum(len(x["found"]) >= wanted for x in told)
    took = sorted(x["ms"] for x in told)
    return {
        "nodes": nodes,
        "loss": loss,
        "seconds": seconds,
        "lost_frames": round(counted["lost"] / (counted["lost"] + counted["carried"]), 3),
        "lookups": len(told),
        "succeeded": round(good / max(len(told), 1), 4),
        "ms_median": round(took[len(took) // 2], 1),
        "ms_p99": round(took[len(took) * 99 // 100], 1),
    }


def main() -> int:
    """Measure and print; or be a part of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=12)
    parser.add_argument("--loss", type=float, default=0.2)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--switch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        plain("eth0")
    elif options.switch is not None:
        switch([f"p{n}" for n in range(options.switch)], options.loss, 0)
    else:
        print(json.dumps(measure(options.nodes, options.loss, options.seconds)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
