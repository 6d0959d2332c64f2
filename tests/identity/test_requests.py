"""Requests for certificates: signed for whoever has the identity, and for nobody else."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.cli.main import main
from qsynth.errors import ConfigError, QsynthError, StateError
from qsynth.identity import Identity
from qsynth.identity.authority import Authority
from qsynth.identity.certificates import read_certificate
from qsynth.identity.request import PEM, PROOF, SEAL, make_request, named, read_request, write
from qsynth.identity.vouchers import Vouchers
from qsynth.mesh.tls import Tls

MINE, OTHER = Identity.seeded("request", "mine"), Identity.seeded("request", "other")
HOSTS = ["site7.example.org", "10.0.0.7"]


def made_by_hand(
    folder: Path, name: str, key=None, proof: bytes | None = None, names=HOSTS, signer=None
) -> Path:
    """Write a request of any content, signed by a key that need not be its own."""
    key = ec.generate_private_key(ec.SECP256R1()) if key is None else key
    builder = x509.CertificateSigningRequestBuilder().subject_name(named(name))
    if names:
        alternative = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(alternative, critical=False)
    if proof is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(PROOF, proof), critical=False)
    path = folder / "by_hand.pem"
    path.write_bytes(builder.sign(signer or key, hashes.SHA256()).public_bytes(PEM))
    return path


def proof_of(identity: Identity, key) -> bytes:
    plain = serialization.PublicFormat.SubjectPublicKeyInfo
    said = SEAL + key.public_key().public_bytes(serialization.Encoding.DER, plain)
    return identity.public_key + identity.sign(said)


def test_a_request_says_who_and_where_and_its_key_stays(tmp_path) -> None:
    path = make_request(MINE, HOSTS, tmp_path / "tls")
    wanted = read_request(path)
    assert (wanted.node, wanted.hosts) == (MINE.id, tuple(HOSTS))
    assert (tmp_path / "tls" / "key.pem").stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in path.read_bytes()
    authority = Authority.init(tmp_path / "authority")
    authority.sign(path, 10.0, tmp_path / "signed")
    assert sorted(each.name for each in (tmp_path / "signed").iterdir()) == [
        "authority.pem",
        "certificate.pem",
        "revoked.pem",
        "voucher.txt",
    ]
    for each in (tmp_path / "signed").iterdir():
        shutil.copy(each, tmp_path / "tls")
    read = read_certificate(tmp_path / "tls")
    assert (read.node, read.hosts) == (MINE.id, tuple(HOSTS))
    assert 9.9 < read.days_left < 10.1
    assert authority.revoke(MINE.id) == 1  # it is on record


def test_a_request_in_anothers_name_is_refused(tmp_path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), MINE.id.hex()
    for proof, said in (
        (proof_of(OTHER, key), "not signed by the node"),
        (MINE.public_key + OTHER.sign(b"x"), "not signed by the node"),
        (MINE.public_key + b"\0" * 63, "not signed by the node"),
        (b"", "not signed by the node"),
        (None, "no request of"),
    ):
        with pytest.raises(StateError, match=said):
            read_request(made_by_hand(tmp_path, name, key, proof))
    # The proof of another key, as seen in a request of before.
    stolen = proof_of(MINE, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(StateError, match="not signed by the node"):
        read_request(made_by_hand(tmp_path, name, key, stolen))
    assert read_request(made_by_hand(tmp_path, name, key, proof_of(MINE, key))).node == MINE.id


def test_requests_of_other_kinds_are_refused(tmp_path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    proof = proof_of(MINE, key)
    for name, names, said in (
        ("site 7", HOSTS, "no certificate request"),
        (MINE.id.hex(), (), "no request of"),
        (MINE.id.hex(), ["a"] * 65, "names 65 hosts"),
    ):
        path = made_by_hand(tmp_path, name, key, proof, names)
        with pytest.raises(StateError, match=said):
            read_request(path)
    for other in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(StateError, match="no P-256 key"):
            read_request(made_by_hand(tmp_path, MINE.id.hex(), other, proof_of(MINE, other)))
    large = tmp_path / "large.pem"
    large.write_bytes(b"x" * 20000)
    with pytest.raises(StateError, match="more than"):
        read_request(large)
    with pytest.raises(ConfigError, match="--host"):
        make_request(MINE, [], tmp_path / "tls")
    (tmp_path / "tls").mkdir(exist_ok=True)
    (tmp_path / "tls" / "key.pem").write_text("rubbish")
    with pytest.raises(StateError, match="no private key"):
        make_request(MINE, HOSTS, tmp_path / "tls")


@settings(max_examples=60, deadline=None)
@given(at=st.floats(0.0, 1.0, exclude_max=True), by=st.integers(1, 255))
def test_any_damage_to_a_request_is_refused(tmp_path_factory, at, by) -> None:
    path = make_request(MINE, HOSTS, tmp_path_factory.mktemp("damage"))
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= by
    path.write_bytes(bytes(data))
    try:
        wanted = read_request(path)
    except QsynthError:
        return
    assert (wanted.node, wanted.hosts) == (MINE.id, tuple(HOSTS))  # outside of what is signed


def test_a_node_of_another_authority_is_vouched_for(tmp_path) -> None:
    """A hospital's own authority, with one between, issues the certificate of a request."""
    path = make_request(MINE, HOSTS, tmp_path / "tls")
    root, between = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_made = _issued("root", "root", root.public_key(), root)
    between_made = _issued("between", "root", between.public_key(), root)
    request = x509.load_pem_x509_csr(path.read_bytes())
    leaf = _issued(MINE.id.hex(), "between", request.public_key(), between, HOSTS)
    here = tmp_path / "tls"
    chain = leaf.public_bytes(PEM) + between_made.public_bytes(PEM)
    (here / "certificate.pem").write_bytes(chain)
    (here / "authority.pem").write_bytes(root_made.public_bytes(PEM))
    ours = Authority.init(tmp_path / "authority")
    out = tmp_path / "out"
    ours.vouch(here / "certificate.pem", here / "authority.pem", out)
    for each in out.iterdir():
        shutil.copy(each, here)
    assert read_certificate(here).node == MINE.id
    vouchers = Vouchers.read(here)
    assert vouchers.vouches(MINE.id, vouchers.own, 0.0)
    assert not vouchers.vouches(OTHER.id, vouchers.own, 0.0)
    # The fleet's own authority takes it back.
    assert ours.revoke(MINE.id) == 1
    ours.vouch(here / "certificate.pem", here / "authority.pem", out)
    shutil.copy(out / "voucher_revoked.pem", here)
    assert Vouchers.read(here).refuses(MINE.id, vouchers.own)
    (here / "certificate.pem").write_bytes(leaf.public_bytes(PEM))  # without the one between
    with pytest.raises(StateError, match="not of the authority"):
        read_certificate(here)


def _issued(
    name: str, by: str, public, key, hosts=(), subject=None, serial=None
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or named(name))
        .issuer_name(named(by))
        .public_key(public)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.BasicConstraints(not hosts, None), critical=True)
    )
    if hosts:
        alternative = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        builder = builder.add_extension(alternative, critical=False)
    return builder.sign(key, hashes.SHA256())


def test_the_command_line_requests_signs_rotates_and_retires(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = ["node", "keys"]
    assert main([*keys, "init"]) == 0
    assert main([*keys, "request", "--host", "localhost", "--home", "a"]) == 0
    name = capsys.readouterr().out.split("of node ")[1].split(";")[0]
    sign = [*keys, "sign", "--request", "a/tls/request.pem", "--out", "a/tls"]
    assert main([*sign, "--id", name]) == 0
    assert "localhost" in capsys.readouterr().out
    assert read_certificate(Path("a/tls")).node.hex() == name
    assert main([*keys, "rotate"]) == 0
    for words, told in (
        ([*sign, "--id", "0" * 64], "is of node"),
        (sign[:-2], "--out: is needed"),
        ([*keys, "sign", "--out", "b"], "--request: is needed"),
        ([*sign[:-1], "authority"], "holds the authority itself"),
        ([*keys, "request"], "--host"),
        ([*keys, "retire"], "of the key before alone"),
        ([*keys, "rotate"], "not retired yet"),
        ([*keys, "reqest"], "did you mean request"),
        (
            [*keys, "vouch", "--certificate", "a/tls/key.pem", "--root", "a", "--out", "b"],
            "no certificate",
        ),
    ):
        assert main(words) != 0, words
        assert told in capsys.readouterr().err
    assert main(sign) == 0
    assert main([*keys, "retire"]) == 0
    assert main([*keys, "retire"]) != 0
    # Another's key in the folder is not overwritten with a certificate that does not fit.
    assert main([*keys, "request", "--host", "b", "--home", "b"]) == 0
    assert main([*sign[:-1], "b/tls"]) != 0
    assert "not the key of the request" in capsys.readouterr().err
    for path in ("authority/key.pem", "a/tls/key.pem"):
        assert Path(path).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "host", ["*", "*.example.org", "", "a b", "good\x1b[2K\rbad", "x" * 64, "a..b", "-a", "a\n"]
)
def test_a_host_that_is_no_name_is_refused(tmp_path, host) -> None:
    with pytest.raises(ConfigError, match="--host"):
        make_request(MINE, [host], tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        path = made_by_hand(tmp_path, MINE.id.hex(), key, proof_of(MINE, key), [host])
    except ValueError:
        return  # the library cannot write it either
    with pytest.raises(StateError) as refused:
        read_request(path)
    assert "\x1b" not in str(refused.value)


def vouched(tmp_path, ours: Authority, name: str, identity: Identity, subject=None, serial=1):
    """A node whose certificate a hospital has issued, with any subject and number."""
    folder = tmp_path / name
    path = make_request(identity, HOSTS, folder)
    key = ec.generate_private_key(ec.SECP256R1())
    root = _issued(name, name, key.public_key(), key)
    (folder / "authority.pem").write_bytes(root.public_bytes(PEM))
    request = x509.load_pem_x509_csr(path.read_bytes())
    leaf = _issued(identity.id.hex(), name, request.public_key(), key, HOSTS, subject, serial)
    (folder / "certificate.pem").write_bytes(leaf.public_bytes(PEM))
    ours.vouch(folder / "certificate.pem", folder / "authority.pem", tmp_path / f"{name}-vouched")
    for each in (tmp_path / f"{name}-vouched").iterdir():
        shutil.copy(each, folder)
    return folder


def test_hospitals_may_count_alike_and_name_as_they_like(tmp_path) -> None:
    ours = Authority.init(tmp_path / "authority")
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "DE"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Hospital"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, MINE.id.hex()),
        ]
    )
    one = vouched(tmp_path, ours, "one", MINE, subject)
    other = vouched(tmp_path, ours, "other", OTHER)  # the same number, 1
    assert not (tmp_path / "one-vouched" / "revoked.pem").exists()  # that is the hospital's
    assert read_certificate(one).node == MINE.id
    vouchers = [Vouchers.read(folder) for folder in (one, other)]
    assert ours.revoke(MINE.id) == 1
    shutil.copy(ours.folder / "revoked.pem", other / "voucher_revoked.pem")
    after = Vouchers.read(other)
    assert after.refuses(MINE.id, vouchers[0].own)
    assert not after.refuses(OTHER.id, vouchers[1].own)
    # What the mesh has of the fleet's lists does not get into TLS's way.
    made = Tls(other, ours.folder / "revoked.pem")
    made.server()
    made.check_lists()
    assert made.vouchers.refuses(MINE.id, vouchers[0].own)
    # A voucher of the key before keeps it from being retired, one of the new key does not.
    ours.rotate()
    assert ours.unrenewed() == [OTHER.id]
    ours.vouch(other / "certificate.pem", other / "authority.pem", tmp_path / "again")
    assert ours.unrenewed() == []
    with pytest.raises(StateError, match="is not of"):
        ours.vouch(other / "certificate.pem", one / "authority.pem", tmp_path / "x")


@pytest.mark.parametrize("verb", ["rotate", "retire", "revoke"])
def test_an_authority_that_is_cut_off_at_any_write_goes_on(tmp_path, monkeypatch, verb) -> None:
    for cut in range(1, 6):
        ours = Authority.init(tmp_path / f"{verb}{cut}")
        ours.issue(MINE.id, HOSTS, 10.0, tmp_path / "mine")
        ours.issue(OTHER.id, HOSTS, 10.0, tmp_path / "other")
        ours.revoke(OTHER.id)
        if verb == "retire":
            ours.rotate()
        left = [cut]

        def failing(path, data, left=left) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise OSError("no power")
            write(path, data)

        with monkeypatch.context() as patch:
            patch.setattr("qsynth.identity.authority.write", failing)
            with contextlib.suppress(StateError):
                ours.revoke(MINE.id) if verb == "revoke" else getattr(ours, verb)()
        again = Authority(ours.folder)
        again.issue(MINE.id, HOSTS, 10.0, tmp_path / "again")
        read_certificate(tmp_path / "again")
        if verb != "retire":
            assert again.revoke(OTHER.id) == 0  # it was not forgotten


def test_a_folder_of_an_authority_is_not_a_nodes(tmp_path) -> None:
    ours = Authority.init(tmp_path / "authority")
    ours.rotate()
    for out in (ours.folder, ours.folder / "before", ours.folder / "tls"):
        with pytest.raises(ConfigError, match="holds the authority itself"):
            ours.issue(MINE.id, HOSTS, 10.0, out)
    assert main(["node", "keys", "request", "--host", "a", "--out", str(ours.folder)]) == 2
