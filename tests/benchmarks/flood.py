"""Flood a node at full speed: what its memory, its disk and others' lookups come to.

    PYTHONPATH=. python tests/benchmarks/flood.py [--kind KIND] [--tls] [--seconds 60] [--peers 4]

Five nodes of a mesh in processes of their own; first nobody disturbs them, then `--peers` processes
flood one of them without a pause, each over one connection:

    rubbish   random bytes, frames cut short, frames of thousands of messages, empty envelopes
    bare      5,000 connections that say nothing
    keep      packets of ever new authors, to be kept
    contacts  made-up contacts in gossip, and notices of ever new nodes
    relay     messages to be carried, and requests to be carried for
    lookups   lookups, each of which is answered

With --tls all have certificates, and each flooder speaks in its own name alone.
Prints one JSON object: the resident memory of that node and the bytes in its folder before and
after, and the 99th percentile of the others' lookups, in milliseconds, idle and meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import socket
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pynng
from lives import SAMPLES, Life, publication

from qsynth.dht import Contact
from qsynth.dht.contact import prove
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.identity.file import identity_of
from qsynth.mesh.connections import place_of, raise_limit
from qsynth.mesh.rpc import Rpc
from qsynth.mesh.tcp import Tcp
from qsynth.mesh.tls import Tls, dialled
from qsynth.packet import OutcomePacket, encode_packet
from qsynth.protocol import messages
from qsynth.protocol.relays import seal

KINDS = ("rubbish", "bare", "keep", "contacts", "relay", "lookups")
NODES, PERIOD_S = 5, 0.2
SETTLING_S = 10.0
BARE = 5000
AHEAD = 400  # messages that a flooder makes beforehand, and sends in turn
HOST = "127.0.0.1"
SCOPE = b"t" * 16  # what lives.py gives for its task


class Flooder:
    """One who floods: who it says it is, and what it sends."""

    def __init__(self, address: str, seed: int, home: Path, tls: bool) -> None:
        self.address, self.seed = address, seed
        self.rng = np.random.default_rng(seed)
        self.identity = identity_of(home)
        self.tls = Tls(home / "tls") if tls else None
        self.print = publication(1).fingerprint

    def speaker(self) -> Identity:
        """Return in whose name the next message is: with TLS only one's own counts."""
        return self.identity if self.tls else Identity(self.rng.bytes(32))

    def contact(self, identity: Identity) -> Contact:
        """Return a contact that is what everybody looks for."""
        made = Contact(identity.id, f"tcp://{HOST}:9", self.print.tobytes(), int(time.time()))
        if self.tls is None:
            return made
        made = Contact(made.id, f"tls+{made.address}", made.fingerprint, made.version)
        return prove(made, identity, self.tls.vouchers.own, SCOPE, time.time())

    def ask(self, identity: Identity, kind: str, body: Any) -> bytes:
        """Return a frame of one request."""
        rpc = Rpc(identity.id, Tcp(max_pending=10**9), None)
        (send,) = rpc.request(0.0, self.address, kind, messages.pack(body), None)
        return b"\x01" + send.payload

    def rubbish(self) -> bytes:
        """Return what no node understands."""
        kind = int(self.rng.integers(4))
        body = self.rng.bytes(int(self.rng.integers(1, 8000)))
        if kind == 1:
            return b"\x05" + body
        if kind == 3:
            return b"\x05" + b"\x01\x00\x00\x00x" * 13_000  # as many messages as fit
        if kind == 2:
            rpc = Rpc(self.identity.id, Tcp(), self.seed)
            return b"\x01" + rpc.request(0.0, self.address, "similar", body, None)[0].payload
        return body

    def keep(self) -> bytes:
        """Return a request to keep a packet that is well made, of an author like no other."""
        who, what = self.speaker(), publication(int(self.rng.integers(10**9)))
        packet = OutcomePacket(
            task=b"t" * 16,
            encoder=b"e" * 16,
            author=who.public_key,
            sequence=int(time.time()) + int(self.rng.integers(10**6)),
            created_s=time.time(),
            ttl_s=10**6,
            support=SAMPLES,
            payload=what.payload,
        )
        body = messages.Keep(self.contact(who), encode_packet(packet, who))
        return self.ask(who, messages.KEEP, body)

    def contacts(self) -> bytes:
        """Return gossip of nodes that are not there, or a notice of a new one."""
        who = self.speaker()
        if self.rng.random() < 0.5:
            return self.ask(who, messages.NOTICE, messages.Notice(self.contact(who)))
        made_up = [self.contact(Identity(self.rng.bytes(32))) for _ in range(64)]
        return self.ask(who, messages.GOSSIP, messages.Gossip(self.contact(who), 0, made_up))

    def relay(self) -> bytes:
        """Return a message to be carried to nobody, or a request to be carried for."""
        who, node = self.speaker(), self.rng.bytes(32)
        said = int(1000 * time.time()).to_bytes(8, "big")
        if self.rng.random() < 0.5:
            return self.ask(
                who, messages.RELAY, messages.Relay(self.contact(who), seal(who, node, said, 0))
            )
        parcel = messages.Parcel(node, b"", seal(who, node, self.rng.bytes(1000), 0))
        return b"\x01" + Rpc(who.id, Tcp(), None).wrap(messages.pack(parcel), True)

    def lookups(self) -> bytes:
        """Return a lookup."""
        who = self.speaker()
        target = self.rng.integers(-127, 128, len(self.print)).astype(np.int8).tobytes()
        return self.ask(who, messages.SIMILAR, messages.Search(self.contact(who), target, 64))

    def messages(self, kind: str) -> Iterator[bytes]:
        """Return messages without end."""
        make = getattr(self, kind)
        ahead = [make() for _ in range(AHEAD)]
        return (ahead[at % AHEAD] for at in count())

    def send(self, kind: str) -> None:
        """Send until killed."""
        messages = self.messages(kind)
        with pynng.Pair1(send_timeout=1000) as sender:
            if self.tls is None:
                sender.dial(self.address, block=False)
            else:
                dialled(sender, self.address, self.tls.client(HOST))
            while True:
                try:
                    sender.send(next(messages))
                except pynng.NNGException:
                    time.sleep(0.001)


def bare(address: str, many: int) -> None:
    """Hold so many connections, and make a new one for each that is closed."""
    raise_limit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    place, held = place_of(address), []
    while True:
        while len(held) < many:
            try:
                made = socket.create_connection(place, 1.0)
                made.setblocking(False)
                held.append(made)
            except OSError:
                time.sleep(0.01)
        alive = []
        for connection in held:
            try:
                ended = connection.recv(64) == b""
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if ended:
                connection.close()
            else:
                alive.append(connection)
        held = alive
        time.sleep(0.01)


def flood(kind: str, address: str, seed: int, peers: int, home: Path, tls: bool) -> None:
    """Flood an address until killed."""
    if kind == "bare":
        bare(address, BARE // peers)
    else:
        Flooder(address, seed, home, tls).send(kind)


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def folder_mib(folder: Path) -> float:
    """Return what the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def written_mib(pid: int) -> float:
    """Return what a process has written to disk."""
    lines = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(lines["write_bytes"]) / 2**20


def homes(folder: Path, many: int, tls: bool) -> list[Path]:
    """Return the homes of nodes and flooders, with their certificates."""
    made = [folder / str(number) for number in range(many)]
    authority = Authority.init(folder / "authority") if tls else None
    for home in made:
        identity = identity_of(home)
        if authority is not None:
            authority.issue(identity.id, [HOST], 1.0, home / "tls")
    return made


def measure(kind: str, tls: bool, seconds: float, peers: int) -> dict[str, Any]:
    """Return memory, disk and lookups, idle and flooded."""
    context = multiprocessing.get_context("spawn")
    flooding: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        places = homes(Path(folder), NODES + peers, tls)
        lives: list[Life] = []
        try:
            for number in range(NODES):
                first = lives[0].lines[0]["address"] if lives else ""
                lives.append(Life(places[number], first, number + 1, "--every", str(PERIOD_S)))
                lives[-1].wait("started")
            time.sleep(SETTLING_S)
            idle = time.time()
            time.sleep(seconds / 2)
            pid = lives[0].process.pid
            before = resident_mib(pid), folder_mib(places[0]), written_mib(pid)
            flooded = time.time()
            address = lives[0].lines[0]["address"]
            for seed in range(peers):
                words = (kind, address, seed, peers, places[NODES + seed], tls)
                flooding.append(context.Process(target=flood, args=words, daemon=True))
                flooding[-1].start()
            time.sleep(seconds)
            ended = time.time()
            after = resident_mib(pid), folder_mib(places[0]), written_mib(pid)
        finally:
            for process in flooding:
                process.kill()
            for life in lives:
                life.kill()
    quiet, loud = (
        [
            x["ms"]
            for life in lives[1:]
            for x in life.lines
            if x["kind"] == "lookup" and since < x["at"] < until
        ]
        for since, until in ((idle, flooded), (flooded + 2.0, ended))
    )
    p99 = [float(np.percentile(times, 99)) for times in (quiet, loud)]
    grown = [round(b - a, 1) for a, b in zip(before, after, strict=True)]
    return {
        "kind": kind,
        "tls": tls,
        "peers": peers,
        "seconds": seconds,
        "mib_grown": grown[0],
        "disk_mib_grown": grown[1],
        "written_mib": grown[2],
        "lookups_idle": len(quiet),
        "lookups_flooded": len(loud),
        "p99_ms_idle": round(p99[0], 1),
        "p99_ms_flooded": round(p99[1], 1),
        "p99_ratio": round(p99[1] / p99[0], 2),
    }


def main() -> int:
    """Flood, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=KINDS, default="rubbish")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--peers", type=int, default=4)
    options = parser.parse_args()
    print(json.dumps(measure(options.kind, options.tls, options.seconds, options.peers)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
