"""How long a revoked node is still spoken to, when one of a fleet's nodes gets the list.

    PYTHONPATH=. python tests/benchmarks/revocation.py [--nodes 8]

Nodes with certificates, real sockets on loopback, in one process.  The authority's new list is
copied to the folder of one node; printed is when each of the others has forgotten the node, in
seconds, and whether it still gets an answer of any of them afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qsynth.host.mesh_host import MeshHost
from qsynth.host.recorder import Recorder
from qsynth.identity.authority import Authority
from qsynth.mesh.memory import MemoryNetwork
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.tcp import Tcp
from qsynth.mesh.tls import Tls
from tests.protocol.test_node import Peer

HOST = "127.0.0.1"
PATIENCE_S = 300.0


def until(done: Callable[[], bool], what: str) -> None:
    """Wait for something.  Raises TimeoutError."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.02)


@contextmanager
def fleet(folder: Path, count: int, host: str = HOST) -> Iterator[tuple[Authority, list[MeshHost]]]:
    """Give an authority and nodes that have published, and all know each other."""
    authority, network = Authority.init(folder / "authority"), MemoryNetwork()
    hosts: list[MeshHost] = []
    try:
        for number in range(count):
            peer = Peer(network, number)
            node, home = peer.node, folder / str(number)
            authority.issue(node.me, [host.strip("[]")], 90.0, home)
            tls = Tls(home, home / "kept.pem")
            transport = PynngTransport(f"tls+tcp://{host}:0", Tcp().max_message_bytes, tls)
            node.address, node.vouchers = transport.address, tls.vouchers
            node.epoch_s = time.time() - time.monotonic()
            node.clock(time.monotonic())
            join = [host.node.address for host in hosts[:1]]
            recorder = Recorder(str(number), None, watched=True)
            hosts.append(MeshHost(node, transport, recorder, lambda join=join: join, tls=tls))
            hosts[-1].start()
            hosts[-1].end_period(0, peer.publication, 1.0)
        everyone = count - 1
        until(lambda: all(len(h.node.table.contacts) == everyone for h in hosts), "all are known")
        yield authority, hosts
    finally:
        for each in hosts:
            each.close()


def measure(folder: Path, count: int) -> tuple[list[float], int]:
    """Return when each has forgotten the last node, in seconds, and how many know it later."""
    with fleet(folder, count) as (authority, hosts):
        lost, others = hosts[-1].node.me, hosts[:-1]
        authority.revoke(lost)
        began = time.monotonic()
        shutil.copy(authority.folder / "revoked.pem", folder / "0")
        gone: dict[int, float] = {}

        def all_gone() -> bool:
            for at, host in enumerate(others):
                if at not in gone and host.recorder.counted().get("revoked"):
                    gone[at] = time.monotonic() - began
            return len(gone) == len(others)

        until(all_gone, "all have forgotten it")
        hosts[-1].end_period(1, None, 1.0)
        time.sleep(3.0)  # in which it tries to speak to each of them
        return sorted(gone.values()), sum(lost in host.node.table.contacts for host in others)


def main() -> None:
    """Measure, print, and fail where it takes more than a minute."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=8)
    with tempfile.TemporaryDirectory() as folder:
        gone, left = measure(Path(folder), parser.parse_args().nodes)
    print("forgotten after (s): " + " ".join(f"{each:.1f}" for each in gone))
    print(f"know it still: {left} of {len(gone)} nodes")
    assert gone[-1] <= 60.0
    assert left == 0


if __name__ == "__main__":
    main()
