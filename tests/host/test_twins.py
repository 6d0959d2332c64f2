"""A home that was copied: both processes say so, and one that begins again does not."""

from __future__ import annotations

import time

import pytest

from qsynth.host import twins
from qsynth.host.mesh_host import MeshHost
from qsynth.host.recorder import Recorder
from qsynth.mesh.memory import MemoryNetwork
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.protocol.journal import State
from tests.protocol.test_node import Peer
from tests.protocol.test_relays import until


def host(folder, number: int, join: list[str]) -> MeshHost:
    """A node with a home, whose identity follows from a number."""
    node = Peer(MemoryNetwork(), number).node
    transport = PynngTransport("tcp://127.0.0.1:0", 65536)
    node.address = transport.address
    node.epoch_s = time.time() - time.monotonic()
    node.clock(time.monotonic())
    folder.mkdir()
    recorder = Recorder(str(number), None, watched=True)
    made = MeshHost(node, transport, recorder, lambda: join, State(folder))
    made.start()
    return made


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Give the means to start nodes, which are closed at the end."""
    monkeypatch.setattr(twins, "LOOK_S", 0.2)
    hosts: list[MeshHost] = []

    def start(number: int) -> MeshHost:
        join = [each.node.address for each in hosts[:1]]
        hosts.append(host(tmp_path / str(len(hosts)), number, join))
        return hosts[-1]

    yield start
    for each in hosts:
        each.close()
        each.state.close()


def twin(made: MeshHost) -> int:
    return made.recorder.counted().get("twin", 0)


def test_both_notice_that_a_home_was_copied_and_nobody_else_does(started) -> None:
    others, one = [started(0), started(1)], started(2)
    until(lambda: len(one.node.table.contacts) == 2)
    until(lambda: one.recorder.counted().get("joined", 0) > 0)
    time.sleep(1.0)  # some looks
    assert [twin(each) for each in [*others, one]] == [0, 0, 0]
    other = started(2)
    until(lambda: twin(one) and twin(other))
    time.sleep(0.5)
    assert [twin(each) for each in [*others, one, other]] == [0, 0, 1, 1]


def test_who_begins_again_is_no_twin_of_before(started) -> None:
    started(0)
    before = started(1)
    until(lambda: len(before.node.table.contacts) == 1)
    time.sleep(0.6)
    before.close()
    again = started(1)
    until(lambda: len(again.node.table.contacts) == 1)
    time.sleep(1.0)
    assert twin(again) == 0
