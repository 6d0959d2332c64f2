"""Lists of revoked certificates travel through the mesh, and nothing but newer ones is taken."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from qsynth.errors import MeshError
from qsynth.host import revocations
from qsynth.host.revocations import COPIES, LOOK_S, Revocations, key_of
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.identity.vouchers import revocations_in
from qsynth.mesh import renewal
from tests.benchmarks.revocation import measure


class Board:
    """What all hosts store, by key and author: a value each."""

    def __init__(self) -> None:
        self.values: dict[tuple[bytes, int], bytes] = {}
        self.stored = 0


class Host:
    """One node's records, and its folder."""

    def __init__(self, board: Board, number: int, folder: Path) -> None:
        self.board, self.number, self.folder = board, number, folder
        self.notes: list[dict] = []
        self.revocations = Revocations(folder, self)
        self.now = 0.0

    def store(self, key: bytes, value: bytes, ttl_s: float) -> Future[int]:
        if len(value) > 2048:
            raise ValueError("a value has at most 2048 bytes")
        self.board.values[key, self.number] = value
        self.board.stored += 1
        return ended(1)

    def get(self, key: bytes, author: bytes = b"") -> Future[list]:
        found = [value for (at, _), value in self.board.values.items() if at == key]
        return ended([SimpleNamespace(value=value) for value in found])

    def note(self, records: list[dict]) -> None:
        self.notes += records

    def look(self) -> None:
        self.now += LOOK_S
        self.revocations.look(self.now)

    def revoked(self) -> set[int]:
        lists = revocations_in((self.folder / "revoked.pem").read_bytes())
        return {entry.serial_number for each in lists for entry in each}


def ended(result) -> Future:
    future: Future = Future()
    future.set_result(result)
    return future


@pytest.fixture
def authority(tmp_path) -> Authority:
    return Authority.init(tmp_path / "authority")


@pytest.fixture
def hosts(tmp_path, authority) -> list[Host]:
    board = Board()
    return [Host(board, n, issued(authority, n, tmp_path / str(n))) for n in range(5)]


def issued(authority: Authority, number: int, out: Path) -> Path:
    authority.issue(Identity.seeded("host", number).id, ["localhost"], 10.0, out)
    return out


def certificate(authority: Authority) -> x509.Certificate:
    return x509.load_pem_x509_certificate((authority.folder / "authority.pem").read_bytes())


def test_a_list_that_one_node_has_reaches_all(hosts, authority) -> None:
    for host in hosts:
        host.look()
    assert hosts[0].board.stored == 0  # nothing is revoked: nothing to hand on
    authority.revoke(Identity.seeded("host", 4).id)
    authority.revoke(Identity.seeded("host", 3).id)  # within the same second
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    for _ in range(2):
        for host in hosts:
            host.look()
    assert len(hosts[0].revoked()) == 2
    assert all(host.revoked() == hosts[0].revoked() for host in hosts)
    assert len(hosts[0].board.values) == COPIES
    before = hosts[0].board.stored
    for host in hosts:
        host.look()
    assert hosts[0].board.stored == before  # enough have it
    assert not any(host.notes for host in hosts)


def test_older_and_forged_lists_change_nothing(hosts, authority, tmp_path) -> None:
    authority.revoke(Identity.seeded("host", 4).id)
    old = x509.load_pem_x509_crl((authority.folder / "revoked.pem").read_bytes())
    authority.revoke(Identity.seeded("host", 3).id)
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    right = hosts[0].revoked()
    stranger = Authority.init(tmp_path / "stranger")
    issued(stranger, 0, tmp_path / "s")
    stranger.revoke(Identity.seeded("host", 0).id)
    foreign = x509.load_pem_x509_crl((stranger.folder / "revoked.pem").read_bytes())
    assert foreign.issuer == old.issuer  # of the same name, and another key
    key = key_of(certificate(authority))
    damaged = bytearray(old.public_bytes(Encoding.DER))
    damaged[-1] ^= 1
    for number, value in enumerate(
        [b"", b"rubbish", bytes(damaged), *(x.public_bytes(Encoding.DER) for x in (old, foreign))]
    ):
        hosts[0].board.values[key, 100 + number] = value
        hosts[0].look()
        assert hosts[0].revoked() == right


def test_lists_of_both_keys_travel_while_there_are_two(hosts, authority, tmp_path) -> None:
    authority.rotate()
    for host in hosts:
        for name in ("authority.pem", "revoked.pem"):
            shutil.copy(authority.folder / name, host.folder)
    authority.revoke(Identity.seeded("host", 4).id)  # of the key before
    issued(authority, 3, tmp_path / "3")
    authority.revoke(Identity.seeded("host", 3).id)  # of both
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    assert len(hosts[0].revoked()) == 3
    for _ in range(2):
        for host in hosts:
            host.look()
    assert all(host.revoked() == hosts[0].revoked() for host in hosts)


def test_what_cannot_be_written_or_handed_on_is_told_once(hosts, authority, monkeypatch) -> None:
    for number in range(60):
        node = Identity.seeded("many", number).id
        authority.issue(node, ["localhost"], 10.0, authority.folder.parent / "many")
        authority.revoke(node)
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    hosts[0].look()
    hosts[0].look()
    (note,) = hosts[0].notes
    assert "not handed on, copy it" in note["reason"]
    key, crl = key_of(certificate(authority)), (authority.folder / "revoked.pem").read_bytes()
    value = x509.load_pem_x509_crl(crl).public_bytes(Encoding.DER)
    hosts[1].board.values[key, 1] = value

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("qsynth.host.revocations.write", full)
    hosts[1].look()
    hosts[1].look()
    (note,) = hosts[1].notes
    assert "no space left" in note["reason"]


def test_a_node_that_ends_or_whose_folder_is_being_written_says_nothing(hosts, authority) -> None:
    failed: Future = Future()
    failed.set_exception(MeshError("the node was closed"))
    hosts[0].get = lambda key, author=b"": failed
    hosts[0].look()
    for name in ("revoked.pem", "authority.pem"):
        (hosts[1].folder / name).write_text("half")
        hosts[1].look()
    assert not hosts[0].notes
    assert not hosts[1].notes


@pytest.mark.slow
def test_over_tls_one_copy_of_a_list_is_enough(tmp_path, monkeypatch) -> None:
    for module in (renewal, revocations):
        monkeypatch.setattr(module, "LOOK_S", 0.5)
    gone, left = measure(tmp_path, 4)
    assert len(gone) == 3
    assert left == 0
