"""Lists of revoked certificates travel through the mesh, and nothing but newer ones is taken."""

from __future__ import annotations

import datetime as dt
import shutil
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import Encoding

from qsynth.errors import MeshError
from qsynth.host import revocations
from qsynth.host.mesh_host import MeshHost
from qsynth.host.revocations import COPIES, LOOK_S, Revocations, key_of, list_in
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.identity.vouchers import Vouchers, revocations_in
from qsynth.mesh import renewal
from qsynth.mesh.tls import Tls
from tests.benchmarks.revocation import fleet, measure, until


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
        self.kept = folder / "home.pem"
        author = bytes([number]) * 32
        self.revocations = Revocations(folder, self.kept, author, self)
        self.now = 0.0

    def store(self, key: bytes, value: bytes, ttl_s: float) -> Future[int]:
        if len(value) > 2048:
            raise ValueError("a value has at most 2048 bytes")
        self.board.values[key, self.number] = value
        self.board.stored += 1
        return ended(1)

    def get(self, key: bytes, author: bytes = b"") -> Future[list]:
        found = [(who, value) for (at, who), value in self.board.values.items() if at == key]
        return ended([SimpleNamespace(value=v, author=bytes([who]) * 32) for who, v in found])

    def note(self, records: list[dict]) -> None:
        self.notes += records

    def look(self) -> None:
        self.now += LOOK_S
        self.revocations.look(self.now)
        self.revocations.look(self.now)  # what has come is taken at the next turn

    def revoked(self) -> set[int]:
        data = (self.folder / "revoked.pem").read_bytes()
        data += self.kept.read_bytes() if self.kept.exists() else b""
        return {entry.serial_number for each in revocations_in(data) for entry in each}


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


def test_a_fault_while_connections_are_made_anew_is_told_and_tried_again(
    tmp_path, monkeypatch
) -> None:
    for module in (renewal, revocations):
        monkeypatch.setattr(module, "LOOK_S", 0.3)
    with fleet(tmp_path, 2) as (authority, hosts):
        broken, real = [0], hosts[0].transport.renew

        def renew(tls: Tls) -> None:
            broken[0] += 1
            if broken[0] < 3:
                raise RuntimeError("the socket is in a mood")
            real(tls)

        monkeypatch.setattr(hosts[0].transport, "renew", renew)
        authority.issue(hosts[0].node.me, ["127.0.0.1"], 90.0, tmp_path / "0")
        until(lambda: hosts[0].recorder.counted().get("certificates", 0) > 0, "taken up")
        assert broken[0] == 3
        assert hosts[0].recorder.counted()["certificates_refused"] == 1
        assert hosts[0].error is None
        until(lambda: hosts[0].transport.address in _addresses(hosts[1]), "known still")


def _addresses(host: MeshHost) -> set[str]:
    return {contact.address for contact in host.node.table.contacts.values()}


@pytest.mark.slow
def test_over_tls_one_copy_of_a_list_is_enough(tmp_path, monkeypatch) -> None:
    for module in (renewal, revocations):
        monkeypatch.setattr(module, "LOOK_S", 0.5)
    gone, left = measure(tmp_path, 4)
    assert len(gone) == 3
    assert left == 0


def by_hand(authority: Authority, serials=(7,), days=(-0.1, 30.0), extension=None) -> bytes:
    """A list of an authority, of any days, with an extension that it would not write."""
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(certificate(authority).subject)
    builder = builder.last_update(now + dt.timedelta(days=days[0]))
    builder = builder.next_update(now + dt.timedelta(days=days[1]))
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    key = serialization.load_pem_private_key((authority.folder / "key.pem").read_bytes(), None)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_bad_record_of_a_member_keeps_no_list_from_being_taken(hosts, authority) -> None:
    """Every byte of a list changed: among them are versions and names that raise of themselves."""
    authority.revoke(Identity.seeded("host", 4).id)
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    hosts[0].look()
    key, good = key_of(certificate(authority)), by_hand(authority, (1, 2))
    signed = x509.load_der_x509_crl(good).tbs_certlist_bytes
    values = hosts[0].board.values
    for at in range(len(good)):
        for by in (1, 4, 0x80):
            values[key, 100] = good[:at] + bytes([good[at] ^ by]) + good[at + 1 :]
            made = list_in(values[key, 100], certificate(authority))
            assert made is None or made.tbs_certlist_bytes == signed  # outside of what is signed
    for number, damaged in enumerate((good[:-9], b"\x30\x80", b"", good[:7] + b"\x05" + good[8:])):
        values[key, 100 + number] = damaged
    hosts[1].look()
    assert hosts[1].revoked() == hosts[0].revoked() != set()


@pytest.mark.parametrize(
    ("days", "extension"),
    [
        ((1.0, 30.0), None),  # of an authority whose clock is a day ahead
        ((-3.0, -1.0), None),  # ended
        ((-0.01, 30.0), x509.DeltaCRLIndicator(1)),
        ((-0.01, 30.0), x509.IssuingDistributionPoint(None, None, True, False, None, False, False)),
    ],
)
def test_a_list_that_does_not_count_today_or_is_a_part_is_not_taken(
    hosts, authority, days, extension
) -> None:
    authority.revoke(Identity.seeded("host", 4).id)
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    right = hosts[0].revoked()
    wrong = by_hand(authority, (*right, 7), days, extension)
    hosts[0].board.values[key_of(certificate(authority)), 77] = wrong
    hosts[0].look()
    assert hosts[0].revoked() == right
    # Copied by hand it is refused, and said so: TLS would talk to nobody.
    pem = x509.load_der_x509_crl(wrong).public_bytes(Encoding.PEM)
    (hosts[0].folder / "revoked.pem").write_bytes(pem)
    with pytest.raises(MeshError, match="does not count"):
        Tls(hosts[0].folder).check_lists()


def test_a_list_that_takes_somebody_back_is_not_taken_and_told(hosts, authority) -> None:
    authority.revoke(Identity.seeded("host", 4).id)
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    right = hosts[0].revoked()
    restored = by_hand(authority, (), (-0.001, 30.0))  # from a backup of the authority
    hosts[0].board.values[key_of(certificate(authority)), 77] = restored
    hosts[0].look()
    assert hosts[0].revoked() == right
    assert "takes some back" in hosts[0].notes[-1]["reason"]


def test_after_a_wrong_clock_is_mended_the_right_list_is_taken(
    hosts, authority, monkeypatch
) -> None:
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    with monkeypatch.context() as patch:
        patch.setattr("qsynth.identity.authority._now", lambda: ahead)
        authority.revoke(Identity.seeded("host", 4).id)
    again = Authority(authority.folder)
    again.revoke(Identity.seeded("host", 3).id)
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    Tls(hosts[0].folder).check_lists()
    for _ in range(2):
        for host in hosts:
            host.look()
    assert all(len(host.revoked()) == 2 for host in hosts)


def test_files_of_the_owner_are_never_written(hosts, authority) -> None:
    before = {path: path.read_bytes() for path in hosts[1].folder.iterdir()}
    authority.revoke(Identity.seeded("host", 4).id)
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    hosts[0].look()
    hosts[1].look()
    assert hosts[1].kept.exists()
    assert {path: path.read_bytes() for path in before} == before
    made = Tls(hosts[1].folder, hosts[1].kept)
    made.server()
    four = Vouchers.read(hosts[4].folder)
    assert made.vouchers.refuses(four.node, four.own)
    assert not Tls(hosts[1].folder).vouchers.refuses(four.node, four.own)


def test_in_a_small_fleet_a_list_is_stored_once(hosts, authority) -> None:
    authority.revoke(Identity.seeded("host", 4).id)
    shutil.copy(authority.folder / "revoked.pem", hosts[0].folder)
    for _ in range(9):
        hosts[0].look()
    assert hosts[0].board.stored == 1
