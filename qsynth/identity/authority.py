"""A small authority of a fleet: it issues and revokes the certificates of nodes.

P-256, because TLS libraries have it everywhere; a certificate's common name is the id of the node's
Ed25519 key, so a connection proves the same identity that signs packets.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from qsynth.errors import ConfigError, StateError
from qsynth.identity.vouchers import VOUCHER, Vouchers, make_voucher
from qsynth.types import NodeId

KEY, CERTIFICATE = "key.pem", "certificate.pem"
AUTHORITY, REVOKED = "authority.pem", "revoked.pem"
YEARS = dt.timedelta(days=3650)
PEM = serialization.Encoding.PEM
MOST_DAYS = 36500


@dataclass(frozen=True)
class Certificate:
    """What a node's certificate says: whose it is, where it is dialled, how long it holds."""

    node: NodeId
    hosts: tuple[str, ...]
    days_left: float


def read_certificate(folder: Path) -> Certificate:
    """Return what the certificate in a node's folder says.

    Raises StateError where it does not go with the key, the authority and the revocations there.
    """
    try:
        made = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
        common = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
        key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
        authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        revoked = x509.load_pem_x509_crl((folder / REVOKED).read_bytes())
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        node = bytes.fromhex(str(common))
    except (OSError, ValueError, IndexError, x509.ExtensionNotFound) as error:
        raise StateError(f"{folder / CERTIFICATE}: is no certificate of a node ({error})") from None
    if key.public_key() != made.public_key():
        raise StateError(f"{folder / KEY}: is not the key of the certificate")
    try:
        made.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        raise StateError(f"{folder / CERTIFICATE}: is not of the authority beside it") from None
    if revoked.get_revoked_certificate_by_serial_number(made.serial_number) is not None:
        raise StateError(f"{folder / CERTIFICATE}: has been revoked")
    try:
        Vouchers.read(folder).check()
    except (OSError, ValueError) as error:
        raise StateError(
            f"{folder / VOUCHER}: is no voucher of this node ({error}); issue it again"
        ) from None
    hosts = [
        *names.get_values_for_type(x509.DNSName),
        *map(str, names.get_values_for_type(x509.IPAddress)),
    ]
    left = (made.not_valid_after_utc - _now()).total_seconds() / 86400
    return Certificate(node, tuple(hosts), left)


def days_left(folder: Path) -> float | None:
    """Return how many days a certificate holds still; None where there is none that can be read."""
    try:
        made = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    except (OSError, ValueError):
        return None
    return (made.not_valid_after_utc - _now()).total_seconds() / 86400


class Authority:
    """The key that certificates of a fleet are signed with, in a folder of its own.

    Raises StateError where the folder holds none, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            secret = (folder / KEY).read_bytes()
            self._certificate = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
            self._revoked = x509.load_pem_x509_crl((folder / REVOKED).read_bytes())
            key = serialization.load_pem_private_key(secret, None)
        except (OSError, ValueError, TypeError) as error:
            raise StateError(f"{folder}: holds no authority ({error})") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise StateError(f"{folder / KEY}: is no P-256 key")
        self._key = key

    @classmethod
    def init(cls, folder: Path) -> Authority:
        """Make a new authority.  Raises StateError where there is one."""
        if (folder / KEY).exists():
            raise StateError(f"{folder}: holds an authority already")
        key, now, name = ec.generate_private_key(ec.SECP256R1()), _now(), _name("qsynth fleet")
        made = (
            _builder(name, name, key.public_key(), now, YEARS)
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(_usage(), critical=True)
            .sign(key, hashes.SHA256())
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(folder / AUTHORITY, made.public_bytes(PEM))
            _write(folder / REVOKED, _revocations(key, made, {}).public_bytes(PEM))
            _write(folder / KEY, _secret(key))
        except OSError as error:
            raise StateError(f"{folder}: cannot be written ({error})") from None
        return cls(folder)

    def issue(self, node: NodeId, hosts: Sequence[str], days: float, out: Path) -> int:
        """Write a node's key, certificate and voucher, and what it checks others by.

        Return the certificate's serial number.

        hosts: names and addresses that the node is dialled at.  Raises ConfigError, StateError.
        """
        if not hosts:
            raise ConfigError("--host: a certificate needs the names the node is dialled at")
        if out.resolve() == self.folder.resolve():
            raise ConfigError(f"--out={out}: holds the authority itself; use another folder")
        if not -MOST_DAYS <= days <= MOST_DAYS:
            raise ConfigError(f"--days={days}: must be at most {MOST_DAYS}")
        key, now = ec.generate_private_key(ec.SECP256R1()), _now()
        names = [_general(host) for host in hosts]
        made = (
            _builder(
                _name(node.hex()),
                self._certificate.subject,
                key.public_key(),
                now,
                dt.timedelta(days=days),
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        until_s = made.not_valid_after_utc.timestamp()
        voucher = make_voucher(self._key, node, made.serial_number, until_s)
        try:
            # First: what is not on record could not be revoked.
            issued = self.folder / "issued"
            issued.mkdir(exist_ok=True)
            _write(issued / f"{made.serial_number:x}.pem", made.public_bytes(PEM))
            out.mkdir(parents=True, exist_ok=True)
            _write(out / KEY, _secret(key))
            _write(out / CERTIFICATE, made.public_bytes(PEM))
            _write(out / VOUCHER, f"{voucher.hex()}\n".encode())
            for name in (AUTHORITY, REVOKED):
                _write(out / name, (self.folder / name).read_bytes())
        except OSError as error:
            raise StateError(f"{out}: cannot be written ({error})") from None
        return made.serial_number

    def revoke(self, node: NodeId) -> int:
        """Revoke every certificate of a node; return how many are new.  Raises ConfigError."""
        known = {entry.serial_number: entry.revocation_date_utc for entry in self._revoked}
        found = 0
        for path in sorted((self.folder / "issued").glob("*.pem")):
            made = x509.load_pem_x509_certificate(path.read_bytes())
            if made.subject == _name(node.hex()):
                found += 1
                known.setdefault(made.serial_number, _now())
        if not found:
            raise ConfigError(f"{node.hex()}: {self.folder} has issued it no certificate")
        fresh = len(known) - len(list(self._revoked))
        self._revoked = _revocations(self._key, self._certificate, known)
        _write(self.folder / REVOKED, self._revoked.public_bytes(PEM))
        return fresh


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise ConfigError(f"--host={host}: must be a name or an address") from None


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    valid: dt.timedelta,
) -> x509.CertificateBuilder:
    # An hour back: clocks of a fleet differ.
    begin = now - dt.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(begin, now + valid - dt.timedelta(seconds=1)))
        .not_valid_after(now + valid)
    )


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _revocations(
    key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, known: dict[int, dt.datetime]
) -> x509.CertificateRevocationList:
    now = _now()
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject)
    builder = builder.last_update(now - dt.timedelta(hours=1)).next_update(now + YEARS)
    for serial, when in sorted(known.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(key, hashes.SHA256())


def _secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain)


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; keys are readable by their owner alone."""
    part = path.with_suffix(".part")
    mode = 0o600 if path.name == KEY else 0o644
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
