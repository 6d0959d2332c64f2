"""Connections: bounded before a handshake and after it; a process that is out of descriptors."""

from __future__ import annotations

import errno
import os
import resource
import socket
import time
from pathlib import Path

import pytest

import qsynth
from qsynth.errors import StateError
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.mesh.connections import MOST_BARE, MOST_OF_PEER, Connections, place_of, raise_limit
from qsynth.mesh.ipc import Ipc
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.tcp import Tcp
from qsynth.mesh.tls import Tls
from qsynth.protocol.journal import CONTACT, MOST_JOURNAL_BYTES, Entry, State

HOST = "127.0.0.1"
PATIENCE_S = 60.0


def until(transport, true) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not true() and time.monotonic() < end:
        transport.receive(0.05)
    return true()


def tls(folder, name: str) -> Tls:
    place = folder / "authority"
    authority = Authority(place) if place.exists() else Authority.init(place)
    authority.issue(Identity.seeded("c", name).id, [HOST], 1.0, folder / name)
    return Tls(folder / name)


@pytest.mark.parametrize("secure", [False, True])
def test_bare_connections_take_no_more_than_their_share(tmp_path, secure: bool) -> None:
    own = tls(tmp_path, "node") if secure else None
    scheme = "tls+tcp" if secure else "tcp"
    node = PynngTransport(f"{scheme}://{HOST}:0", 65536, own)
    bare: list[socket.socket] = []
    try:
        port = place_of(node.address)[1]
        bare += [socket.create_connection((HOST, port)) for _ in range(4 * MOST_BARE)]
        assert until(node, lambda: node.shed.get("bare_connection", 0) >= 2 * MOST_BARE)
        other = PynngTransport(
            f"{scheme}://{HOST}:0", 65536, tls(tmp_path, "other") if secure else None
        )
        try:  # and one who has something to say is heard all the same
            other.send(node.address, b"hello")
            heard: list[bytes] = []
            end = time.monotonic() + PATIENCE_S
            while not heard and time.monotonic() < end:
                other.receive(0.02)
                heard += [data for _, data in node.receive(0.02)]
            assert heard == [b"hello"]
        finally:
            other.close()
    finally:
        for connection in bare:
            connection.close()
        node.close()


def test_who_is_connected_has_room_for_others() -> None:
    most, of_host = 6, 3
    limits = Connections(1, most, of_host)
    assert limits.room("a", None, [("a", None)] * (of_host - 1)) == ""
    assert limits.room("a", None, [("a", None)] * of_host) == "connections_of_host"
    assert limits.room("a", None, [("b", None)] * most) == "connections"
    wide = Connections(1, 100, 100)
    assert wide.room("a", b"p", [("b", b"p")] * (MOST_OF_PEER - 1)) == ""
    assert wide.room("a", b"p", [("b", b"p")] * MOST_OF_PEER) == "connections_of_peer"
    assert wide.room("a", b"q", [("b", b"p")] * MOST_OF_PEER) == ""


def test_more_connections_of_a_host_than_allowed_are_hung_up_on() -> None:
    node = PynngTransport(f"tcp://{HOST}:0", 65536, None, 8, 2)
    others = [PynngTransport(f"tcp://{HOST}:0", 65536) for _ in range(4)]
    try:
        for other in others:
            other.send(node.address, b"x")
        assert until(node, lambda: node.shed.get("connections_of_host", 0) >= 2)
        assert until(node, lambda: len(node._lines) <= 2)
    finally:
        for transport in [node, *others]:
            transport.close()


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("10.0.0.1:70", ("10.0.0.1", 70)),
        ("tcp://h:7", ("h", 7)),
        ("[::1]:7", ("::1", 7)),
        ("[::ffff:10.0.0.1]:7", ("10.0.0.1", 7)),
        ("", ("", 0)),
        ("tls+tcp://h:x", ("h", 0)),
    ],
)
def test_a_place_is_host_and_port(address, place) -> None:
    assert place_of(address) == place


def test_a_process_may_open_as_many_files_as_it_is_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
        assert raise_limit() >= min(512, soft)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard, 65536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_node_without_descriptors_goes_on_with_its_journal(tmp_path, monkeypatch) -> None:
    entries = [Entry(CONTACT, b"x" * 1000)] * 10
    with State(tmp_path) as state:
        state.append(entries)
        refusing = [errno.EMFILE]

        def opened(path, flags, *rest):
            raise OSError(refusing[0], os.strerror(refusing[0]))

        monkeypatch.setattr("qsynth.protocol.journal._private", opened)
        state.replace(entries)
        state.append(entries)
        assert len(state.load()) == 20
        refusing[0] = errno.ENOSPC
        with pytest.raises(StateError, match="cannot be written"):
            state.replace(entries)
        refusing[0] = errno.EMFILE
        while state._journal.tell() < MOST_JOURNAL_BYTES:
            state.append([Entry(CONTACT, b"x" * 500_000)] * 4)
        with pytest.raises(StateError, match="cannot be written"):
            state.replace(entries)
        monkeypatch.undo()
        state.replace(entries)
        assert len(state.load()) == 10


def test_addresses_without_end_are_dialled_as_far_as_there_is_room() -> None:
    """Each that answers would keep its connection: the one used longest ago is given up."""
    node = PynngTransport(f"tcp://{HOST}:0", 65536, None, 20, 20)
    others = [PynngTransport(f"tcp://{HOST}:0", 65536) for _ in range(14)]
    try:
        for other in others:
            node.send(others[0].address, b"often")
            node.send(other.address, b"once")
        assert len(node._dialled) == node._most_dialled == 10
        assert others[0].address in node._dialled
        assert others[-1].address in node._dialled
        assert node.shed["dialled_long_ago"] == 4
    finally:
        for transport in [node, *others]:
            transport.close()


def test_every_entrance_has_the_limits_of_its_config(tmp_path) -> None:
    """Runs, `node up` and scripts make their transports alike."""
    node = Tcp(connections=40, connections_of_host=3).transport(f"tcp://{HOST}:0")
    local = Ipc().transport(f"ipc://{tmp_path}/s")
    try:
        assert (node._connections.most, node._connections.most_of_host) == (40, 3)
        assert node._most_dialled == 20
        assert local._connections is None
    finally:
        node.close()
        local.close()
    root = Path(qsynth.__file__).parent
    texts = {str(p.relative_to(root)): p.read_text() for p in root.rglob("*.py")}
    made = [name for name, text in texts.items() if "PynngTransport(" in text]
    loaded = [name for name, text in texts.items() if '"PynngTransport")(' in text]
    assert made == ["bench/mesh.py"]
    assert sorted(loaded) == ["mesh/ipc.py", "mesh/tcp.py"]
