"""Certificates of nodes that run: new ones, revocations and a new authority are taken up."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsynth.identity import Identity
from qsynth.identity.request import make_request
from qsynth.mesh import renewal
from qsynth.mesh.pynng_transport import PynngTransport
from qsynth.mesh.renewal import Renewal
from qsynth.mesh.tls import Tls
from tests.mesh.test_tls import LISTEN, PATIENCE_S, SILENCE_S, Fleet, received


class Running:
    """A transport that looks at its folder, as a node does."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.records = folder, []
        tls = Tls(folder)
        self.transport = PynngTransport(LISTEN, 65536, tls)
        self.renewal = Renewal(tls, self.records.extend)
        self.now = 0.0

    def look(self) -> bool:
        """Look at the folder; return whether there was something new."""
        self.now += renewal.LOOK_S
        found = self.renewal.look(self.now)
        if found is not None:
            self.transport.renew(found)
            self.renewal.taken(found)
        return found is not None

    def events(self) -> list[str]:
        return [record["event"] for record in self.records]


def reaches(dialling: Running, listening: Running, patience_s: float) -> bool:
    """Send until something comes, or time is over."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        dialling.transport.send(listening.transport.address, b"hello")
        if received(listening.transport, dialling.transport, 0.3) is not None:
            return True
    return False


@pytest.fixture
def fleet(tmp_path) -> Fleet:
    return Fleet(tmp_path)


@pytest.fixture
def running(fleet):
    """Give the means to start nodes, which are closed at the end."""
    started = []

    def start(name: str, days: float = 90.0) -> tuple[Running, bytes]:
        identity, folder = fleet.node(name, days=days)
        started.append(Running(folder))
        return started[-1], identity.id

    yield start
    for each in started:
        each.transport.close()


def copy(fleet: Fleet, *nodes: Running) -> None:
    """Copy what the authority publishes to nodes."""
    for node in nodes:
        for name in ("authority.pem", "revoked.pem"):
            shutil.copy(fleet.authority.folder / name, node.folder / name)


def test_a_revoked_node_is_refused_by_those_that_run_and_others_talk_on(fleet, running) -> None:
    (here, _), (there, _), (lost, lost_id) = (running(name) for name in ("here", "there", "lost"))
    assert reaches(lost, here, PATIENCE_S)
    assert not here.look()  # nothing is new
    address = here.transport.address
    fleet.authority.revoke(lost_id)
    copy(fleet, here, there)
    assert here.look()
    assert there.look()
    assert here.transport.address == address
    assert reaches(there, here, PATIENCE_S)
    assert reaches(here, there, PATIENCE_S)
    assert not reaches(lost, here, SILENCE_S)
    assert not reaches(here, lost, SILENCE_S)
    assert here.events() == ["certificates"]


def test_a_certificate_is_renewed_while_connections_stand(fleet, running) -> None:
    (here, _), (there, there_id) = running("here"), running("there")
    assert reaches(there, here, PATIENCE_S)
    before = (there.folder / "certificate.pem").read_bytes()
    fleet.node("there", days=365.0)
    assert (there.folder / "certificate.pem").read_bytes() != before
    assert there.look()
    assert reaches(there, here, PATIENCE_S)
    assert reaches(here, there, PATIENCE_S)
    peers = {line.peer for line in here.transport._lines.values()}
    assert there_id in peers


def test_an_authority_is_replaced_without_a_moment_in_which_nodes_do_not_talk(
    fleet, running
) -> None:
    (here, _), (there, _) = running("here"), running("there")
    fleet.authority.rotate()
    copy(fleet, here)  # one site after the other
    assert here.look()
    assert reaches(there, here, PATIENCE_S)
    copy(fleet, there)
    assert there.look()
    assert reaches(here, there, PATIENCE_S)
    fleet.node("here")
    assert here.look()
    assert here.renewal.look(here.now) is None
    assert reaches(here, there, PATIENCE_S)  # a certificate of each key
    assert reaches(there, here, PATIENCE_S)
    assert len(fleet.authority.unrenewed()) == 1
    fleet.node("there")
    assert there.look()
    assert fleet.authority.unrenewed() == []
    assert fleet.authority.retire() == []
    copy(fleet, here, there)
    assert here.look()
    assert there.look()
    assert reaches(here, there, PATIENCE_S)
    assert reaches(there, here, PATIENCE_S)


def test_who_is_of_the_key_before_alone_is_refused_once_it_is_retired(fleet, running) -> None:
    (here, _), (late, late_id) = running("here"), running("late")
    fleet.authority.rotate()
    fleet.node("here")
    assert fleet.authority.retire() == [late_id]
    copy(fleet, here)
    assert here.look()
    assert not reaches(late, here, SILENCE_S)


def test_a_revocation_of_either_key_holds_while_there_are_two(fleet, running) -> None:
    (here, _), (old, old_id), (new, new_id) = (running(name) for name in ("here", "old", "new"))
    fleet.authority.rotate()
    fleet.node("new")
    copy(fleet, here, new, old)
    assert here.look()
    assert new.look()
    assert old.look()
    assert reaches(old, here, PATIENCE_S)
    assert reaches(new, here, PATIENCE_S)
    for node in (old_id, new_id):
        fleet.authority.revoke(node)
    copy(fleet, here)
    assert here.look()
    assert not reaches(old, here, SILENCE_S)
    assert not reaches(new, here, SILENCE_S)


@pytest.mark.parametrize("name", ["key.pem", "certificate.pem", "authority.pem", "voucher.txt"])
@pytest.mark.parametrize("data", [None, b"", b"rubbish", "other"])
def test_what_does_not_go_together_is_not_taken_up(fleet, running, name, data) -> None:
    (here, _), (there, _) = running("here"), running("there")
    stranger = Fleet(fleet.folder / "strangers").node("here")[1]
    path = here.folder / name
    right = path.read_bytes()
    path.unlink()
    if data is not None:
        path.write_bytes((stranger / name).read_bytes() if data == "other" else data)
    assert not here.look()
    assert not here.look()
    assert here.events() == ["certificates_refused"]  # once
    assert reaches(there, here, PATIENCE_S)  # with what it has
    path.write_bytes(right)
    assert here.look()
    assert here.events() == ["certificates_refused", "certificates"]


def test_an_ended_or_revoked_certificate_of_ones_own_is_not_taken_up(fleet, running) -> None:
    here, me = running("here")
    fleet.node("here", days=-1.0)
    assert not here.look()
    assert "has ended" in here.records[-1]["reason"]
    fleet.node("here")
    assert here.look()
    fleet.authority.revoke(me)
    copy(fleet, here)
    assert not here.look()
    assert "has been revoked" in here.records[-1]["reason"]


def test_the_end_of_a_certificate_is_told_three_times(fleet, running) -> None:
    here, _ = running("here", days=400.0)
    told, began = [], time.time()
    for left in (400.0, 31.0, 29.0, 28.0, 8.0, 6.9, 2.0, 0.9, 0.5):
        here.renewal._wall = lambda left=left: began + 86400 * (400.0 - left)
        here.records.clear()
        here.look()
        told += [(left, event) for event in here.events()]
    assert told == [(left, "certificate_ends") for left in (29.0, 6.9, 0.9)]
    # One that begins near its end is told once.
    near = Running(fleet.node("near", days=6.0)[1])
    near.look()
    near.look()
    near.transport.close()
    assert near.events() == ["certificate_ends"]


def test_a_signed_request_is_taken_up_with_the_key_that_never_left(fleet, running) -> None:
    (here, _), identity = running("here"), Identity.seeded("tls", "away")
    away = fleet.folder / "away"
    request = make_request(identity, ["127.0.0.1"], away)
    key = (away / "key.pem").read_bytes()
    signed = fleet.folder / "signed"
    made = fleet.authority.sign(request, 30.0, signed)
    assert made.serial_number
    assert not (signed / "key.pem").exists()
    for path in signed.iterdir():
        shutil.copy(path, away)
    node = Running(away)
    try:
        assert reaches(node, here, PATIENCE_S)
        assert make_request(identity, ["127.0.0.1"], away) == request  # of the same key
        assert (away / "key.pem").read_bytes() == key
        fleet.authority.sign(request, 300.0, away)
        assert node.look()
        assert reaches(here, node, PATIENCE_S)
    finally:
        node.transport.close()


def test_another_nodes_set_and_an_old_voucher_are_not_taken_up(fleet, running) -> None:
    (here, me), (there, _) = running("here"), running("there")
    for path in there.folder.iterdir():
        shutil.copy(path, here.folder)
    assert not here.look()
    assert "is of another node" in here.records[-1]["reason"]
    fleet.node("here")
    assert here.look()
    old = (here.folder / "voucher.txt").read_bytes()
    fleet.authority.revoke(me)
    fleet.node("here")
    (here.folder / "voucher.txt").write_bytes(old)
    assert not here.look()
    assert "has ended, or was revoked" in here.records[-1]["reason"]


def test_a_list_from_the_mesh_is_taken_up_beside_that_of_the_folder(fleet, running) -> None:
    (here, _), (lost, lost_id) = running("here"), running("lost")
    here.transport.close()
    kept = fleet.folder / "kept.pem"
    tls = Tls(here.folder, kept)
    here.transport = PynngTransport(LISTEN, 65536, tls)
    here.renewal = Renewal(tls, here.records.extend)
    assert reaches(lost, here, PATIENCE_S)
    fleet.authority.revoke(lost_id)
    shutil.copy(fleet.authority.folder / "revoked.pem", kept)
    assert here.look()
    assert not reaches(lost, here, SILENCE_S)


def test_what_is_copied_between_reading_and_watching_is_seen(fleet) -> None:
    _, folder = fleet.node("here", days=90.0)
    tls = Tls(folder)
    fleet.node("here", days=90.0)
    assert Renewal(tls, lambda records: None).look(renewal.LOOK_S) is not None


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["key.pem", "certificate.pem", "authority.pem", "revoked.pem"]),
    at=st.floats(0.0, 1.0, exclude_max=True),
    by=st.integers(1, 255),
)
def test_no_damage_to_a_file_raises(fleet, name, at, by) -> None:
    _, folder = fleet.node("damaged", days=90.0)
    watched = Renewal(Tls(folder), lambda records: None)
    data = bytearray((folder / name).read_bytes())
    data[int(at * len(data))] ^= by
    (folder / name).write_bytes(bytes(data))
    made = watched.look(renewal.LOOK_S)  # of bytes around what counts some may change
    assert made is None or made.vouchers.node == watched._tls.vouchers.node
