"""Replace nodes all the time, and measure the lookups of those that are there.

python tests/benchmarks/churn.py [--nodes 1000] [--share .3] [--minutes 60] [--loss 0]
    [--retries 1]

Real nodes over the memory mesh on its virtual clock: every node looks for the ten most alike once a
minute; `share` of them die each minute without a word, and as many new ones join; `loss` of the
messages never arrive.  A lookup has succeeded when at least half of the ten most alike of those
alive at its end are in its answer.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np

from qsynth.bench.fingerprints import clustered, quantised
from qsynth.dht.config import Rings
from qsynth.identity import Identity
from qsynth.kernels import cosine_top
from qsynth.mesh import Faults, MemoryNetwork
from qsynth.mesh.memory import Memory
from qsynth.packet import Payload
from qsynth.peers import make_peers
from qsynth.peers.sums import Sums
from qsynth.pipeline.publication import Publication
from qsynth.protocol.node import Node
from qsynth.records.service import Records
from qsynth.trust import Admission
from qsynth.trust.config import Checks
from qsynth.types import Task

K, PERIOD_S = 10, 60.0
TASK = Task("churn", 1, ("a", "b"), "vector", (4,), "", 0.0, 1.0)
PAYLOAD: Payload = {"counts": np.array([9, 9], np.uint32)}
DHT = Rings(strategy="rings", replication=0, quiet_periods=0)


class Member:
    """A node with a fingerprint and no data; lookups of its own fingerprint are noted."""

    def __init__(self, fleet: Fleet, number: int) -> None:
        self.fleet, self.number = fleet, number
        # Peers that look for ten and fetch nothing.
        peers = make_peers(Sums(k=K), number)
        admission = Admission(Checks(), TASK, TASK.digest(), b"e" * 16, _unread, _unread)
        self.node = Node(
            Identity.seeded("churn", number),
            f"memory:{number}",
            64,
            admission,
            peers,
            DHT,
            fleet.config,
            1e6,
            1_700_000_000.0,
            number,
            rpc_seed=number,
            services=[Records],
        )
        self.print = fleet.prints[number]
        self.alive, self.born = True, fleet.network.now
        self.transport = fleet.network.attach(self.node.address, self.received)
        self.apply(self.node.start(fleet.network.now, fleet.addresses()))
        self.turn(fleet.network.now, first=True)

    def received(self, now, sender, payload) -> None:
        if self.alive:
            self.apply(self.node.message(now, sender, payload))

    def apply(self, effects) -> None:
        for send in effects.sends:
            self.fleet.bytes += len(send.payload)
            self.transport.send(send.address, send.payload)
        for record in effects.records:
            if record["event"] == "lookup":
                self.fleet.noted(self, record)
        if self.node.wake_at is not None:
            self.fleet.network.at(self.node.wake_at, self.fired)

    def fired(self, now) -> None:
        if self.alive and self.node.wake_at is not None and now >= self.node.wake_at:
            self.apply(self.node.timer(now))

    def turn(self, now, first: bool = False) -> None:
        if not self.alive:
            return
        publication = Publication(PAYLOAD, self.print, 18, self.print) if first else None
        self.apply(self.node.end_period(now, 0, publication, 1.0))
        wait = PERIOD_S * float(self.fleet.rng.uniform(0.9, 1.1))
        self.fleet.network.at(now + wait, self.turn)


def _unread(*_):
    raise AssertionError("no packet is fetched here")


class Fleet:
    """Members that come and go."""

    def __init__(self, count: int, replaced: int, minutes: int, loss: float, retries: int) -> None:
        self.rng = np.random.default_rng(5)
        self.config = Memory(rpc_retries=retries)
        self.network = MemoryNetwork(0.02, seed=5, faults=Faults(loss=loss) if loss else None)
        total = count + replaced * minutes
        self.prints = quantised(clustered(total, count, 5))
        self.bytes, self.measuring = 0, False
        self.members: dict[int, Member] = {}
        self.rpcs: list[int] = []
        self.recalls: list[float] = []
        self.failed = 0
        for number in range(count):
            self.members[number] = Member(self, number)
            self.network.run_until(self.network.now + 0.2)
        self.next = count

    def addresses(self) -> list[str]:
        known = list(self.members)
        drawn = self.rng.choice(known, min(3, len(known)), replace=False) if known else []
        return [f"memory:{number}" for number in drawn]

    def noted(self, member: Member, record) -> None:
        """Compare what a lookup found with the truth now; of members at least a period old."""
        if not self.measuring or record["kind"] != "similar":
            return
        if self.network.now - member.born < PERIOD_S:
            return
        alive = [n for n in self.members if n != member.number]
        rows, _ = cosine_top(member.print, self.prints[alive], K)
        true = {self.members[alive[row]].node.me.hex() for row in rows}
        found = {name for name, _ in record["found"]}
        recall = len(true & found) / K
        self.recalls.append(recall)
        self.rpcs.append(record["rpcs"])
        self.failed += recall < 0.5

    def replace(self, count: int) -> None:
        """Let some die without a word, and as many others join, all through a minute."""
        for _ in range(count):
            number = int(self.rng.choice(list(self.members)))
            gone = self.members.pop(number)
            gone.alive = False
            self.network.detach(gone.node.address)
            self.members[self.next] = Member(self, self.next)
            self.next += 1
            self.network.run_until(self.network.now + PERIOD_S / count)
        if not count:
            self.network.run_until(self.network.now + PERIOD_S)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--loss", type=float, default=0.0)
    parser.add_argument("--retries", type=int, default=Memory().rpc_retries)
    options = parser.parse_args()
    began = time.monotonic()
    replaced = round(options.nodes * options.share)
    fleet = Fleet(options.nodes, replaced, options.minutes, options.loss, options.retries)
    fleet.network.run_until(fleet.network.now + 2 * PERIOD_S)
    fleet.measuring, fleet.bytes = True, 0
    for _ in range(options.minutes):
        fleet.replace(replaced)
    looked = len(fleet.recalls)
    tables = [len(member.node.table) for member in fleet.members.values()]
    print(
        json.dumps(
            {
                "nodes": options.nodes,
                "share": options.share,
                "minutes": options.minutes,
                "loss": options.loss,
                "retries": options.retries,
                "lookups": looked,
                "succeeded": round(1 - fleet.failed / looked, 5),
                "recall_mean": round(float(np.mean(fleet.recalls)), 4),
                "rpcs_mean": round(float(np.mean(fleet.rpcs)), 2),
                "contacts_mean": round(float(np.mean(tables)), 1),
                "bytes_a_node_hour": round(60 * fleet.bytes / options.minutes / options.nodes),
                "seconds": round(time.monotonic() - began, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
