"""Store and get records among local processes, beside hivemind's DHT, in one run.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install hivemind==1.1.12
    PYTHONPATH=. python tests/benchmarks/records.py --hivemind /tmp/peer/bin/python

The workload is that of hivemind's own benchmark without failures: P peers, each a process of its
own, R rounds, T threads; in all P x R values are stored through peers drawn at random, and then
each is read through another peer drawn at random.  Both keep 5 replicas of a value.  Without
--hivemind qsynth alone is measured.  Prints one JSON object a line and library.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

REPLICAS, TTL_S = 5, 3600.0


def measured(library: str, peers: list[Any], rounds: int, threads: int) -> dict[str, Any]:
    """Store and read; a peer has `store(key, value) -> bool` and `get(key) -> value or None`."""
    rng = random.Random(0)
    count = len(peers) * rounds
    items = [(f"expert.{i}", rng.randbytes(32)) for i in range(count)]
    askers = [(rng.randrange(len(peers)), rng.randrange(len(peers))) for _ in items]
    row: dict[str, Any] = {
        "library": library,
        "peers": len(peers),
        "threads": threads,
        "count": count,
    }
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        jobs = zip(items, askers, strict=True)
        stored = sum(pool.map(lambda job: peers[job[1][0]].store(*job[0]), jobs))
        row["store_s"] = round(time.perf_counter() - began, 3)
        began = time.perf_counter()
        jobs = zip(items, askers, strict=True)
        got = list(pool.map(lambda job: peers[job[1][1]].get(job[0][0]), jobs))
        row["get_s"] = round(time.perf_counter() - began, 3)
    right = sum(value == item[1] for value, item in zip(got, items, strict=True))
    return row | {"stored": stored, "read_right": right}


def with_hivemind(count: int, rounds: int, threads: int) -> None:
    """Run in an interpreter that has hivemind."""
    import hivemind
    from hivemind.utils import get_dht_time

    peers: list[Any] = []
    for _ in range(count):
        known = [str(a) for a in peers[0].get_visible_maddrs()] if peers else []
        peers.append(hivemind.DHT(initial_peers=known, start=True, num_replicas=REPLICAS))

    class Peer:
        def __init__(self, dht: Any) -> None:
            self.dht = dht

        def store(self, key: str, value: bytes) -> bool:
            return bool(self.dht.store(key, value, get_dht_time() + TTL_S))

        def get(self, key: str) -> bytes | None:
            found = self.dht.get(key, latest=True)
            return found.value if found else None

    print(json.dumps(measured("hivemind", [Peer(p) for p in peers], rounds, threads)), flush=True)
    for peer in peers:
        peer.shutdown()


class QsynthPeer:
    """A peer in a process of its own, asked over a pipe: any of its threads may wait at once."""

    def __init__(self, context: Any, known: list[str]) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, known), daemon=True)
        self.process.start()
        self.address: str = self.pipe.recv()
        self._lock = threading.Lock()

    def store(self, key: str, value: bytes) -> bool:
        return bool(self._ask("store", key, value))

    def get(self, key: str) -> bytes | None:
        return self._ask("get", key, b"")

    def _ask(self, *words: Any) -> Any:
        with self._lock:
            self.pipe.send(words)
            return self.pipe.recv()


def serve(pipe: Any, known: list[str]) -> None:
    """Be one peer: a whole node, with the transport of a real run, that learns nothing."""
    from qsynth.dht.config import Rings
    from qsynth.dht.record import record_key
    from qsynth.host.mesh_host import MeshHost
    from qsynth.host.recorder import Recorder
    from qsynth.identity import Identity
    from qsynth.mesh.pynng_transport import PynngTransport
    from qsynth.mesh.tcp import Tcp
    from qsynth.peers import make_peers
    from qsynth.peers.none import NoPeers
    from qsynth.protocol.node import Node
    from qsynth.records.service import Records
    from qsynth.trust import Admission
    from qsynth.trust.config import Checks
    from qsynth.types import Task

    task = Task("records", 1, ("a", "b"), "vector", (2,), "", 0.0, 1.0)
    admission = Admission(Checks(), task, task.digest(), b"", dict, lambda *_: None)  # type: ignore
    transport = PynngTransport("tcp://127.0.0.1:0", Tcp().max_message_bytes)
    identity = Identity.random()
    node = Node(
        identity,
        transport.address,
        8,
        admission,
        make_peers(NoPeers(), 0),
        Rings(record_replicas=REPLICAS),
        Tcp(),
        3600.0,
        time.time() - time.monotonic(),
        0,
        services=[Records],
    )
    host = MeshHost(node, transport, Recorder(identity.id.hex()[:8], None), lambda: known)
    host.start()
    pipe.send(transport.address)
    while True:
        try:
            verb, key, value = pipe.recv()
        except EOFError:
            break
        if verb == "stop":
            break
        if verb == "known":
            pipe.send(len(node.table))
        elif verb == "store":
            pipe.send(host.store(record_key(key), value, TTL_S).result())
        else:
            records = host.get(record_key(key)).result()
            pipe.send(records[0].value if records else None)
    host.close()


def with_qsynth(count: int, rounds: int, threads: int) -> None:
    """Run peers of this project."""
    from qsynth.kernels import warm_up

    warm_up()
    context = multiprocessing.get_context("fork")
    peers: list[QsynthPeer] = []
    for _ in range(count):
        peers.append(QsynthPeer(context, [peers[0].address] if peers else []))
    began = time.perf_counter()
    while any(peer._ask("known", "", b"") < count - 1 for peer in peers):
        for at, peer in enumerate(peers):  # to look for anything is how a node comes to be known
            peer.get(f"warm {at} {time.perf_counter()}")
    joined_s = round(time.perf_counter() - began, 3)
    row = measured("qsynth", peers, rounds, threads)
    print(json.dumps(row | {"joined_s": joined_s}), flush=True)
    for peer in peers:
        peer.pipe.send(("stop", "", b""))
        peer.process.join(timeout=10.0)


def main() -> None:
    """Measure qsynth, and hivemind where its interpreter is given."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--hivemind", default="", help="an interpreter that has hivemind")
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    sizes = (given.peers, given.rounds, given.threads)
    if given.only == "hivemind":
        with_hivemind(*sizes)
        return
    with_qsynth(*sizes)
    if given.hivemind:
        words = [f"--{n}={v}" for n, v in zip(("peers", "rounds", "threads"), sizes, strict=True)]
        command = [given.hivemind, __file__, "--only=hivemind", *words]
        subprocess.run(command, check=True, stdout=sys.stdout)


if __name__ == "__main__":
    main()
