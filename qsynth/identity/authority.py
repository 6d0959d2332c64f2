"""A small authority of a fleet: it issues and revokes the certificates of nodes.

P-256, because TLS libraries have it everywhere; a certificate's common name is the id of the node's
Ed25519 key, so a connection proves the same identity that signs packets.

An authority that is renewed has two keys for a while: nodes trust both, and get a certificate of
the new one each, before the old one is retired.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qsynth.errors import ConfigError, StateError
from qsynth.identity.certificates import (
    AUTHORITY,
    CERTIFICATE,
    KEY,
    REVOKED,
    days_until,
    leads_to,
    node_of,
)
from qsynth.identity.request import PEM, general_names, named, read_request, secret, write
from qsynth.identity.vouchers import (
    VOUCHER,
    VOUCHER_AUTHORITY,
    VOUCHER_REVOKED,
    make_voucher,
    revocations_in,
)
from qsynth.types import NodeId

BY = "# by "  # before a record: the name of whoever has signed its voucher
BEFORE = "before"  # the folder of the key that is being replaced
ISSUED = "issued"
YEARS = dt.timedelta(days=3650)
MOST_DAYS = 36500


@dataclass
class _Signer:
    """A key of an authority, its certificate, and when each serial number was revoked.

    published: when its last list of revocations begins.
    """

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    revoked: dict[int, dt.datetime] = field(default_factory=dict)
    published: dt.datetime | None = None


class Authority:
    """The key that certificates of a fleet are signed with, in a folder of its own.

    Raises StateError where the folder holds none, or cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            certificates = x509.load_pem_x509_certificates((folder / AUTHORITY).read_bytes())
            lists = revocations_in((folder / REVOKED).read_bytes())
            self._current = _signer(folder / KEY, certificates, lists)
            old = folder / BEFORE / KEY
            self._before = _signer(old, certificates, lists) if old.exists() else None
        except _RetiredError:
            self._before = None  # it was being retired when somebody pulled the plug
        except (OSError, ValueError, TypeError) as error:
            raise StateError(f"{folder}: holds no authority ({error})") from None

    @classmethod
    def init(cls, folder: Path) -> Authority:
        """Make a new authority.  Raises StateError where there is one."""
        if (folder / KEY).exists():
            raise StateError(f"{folder}: holds an authority already")
        made = _new_signer("qsynth fleet")
        try:
            (folder / ISSUED).mkdir(parents=True, exist_ok=True)
            _write_public(folder, [made])
            write(folder / KEY, secret(made.key))
        except OSError as error:
            raise StateError(f"{folder}: cannot be written ({error})") from None
        return cls(folder)

    def issue(self, node: NodeId, hosts: Sequence[str], days: float, out: Path) -> int:
        """Write a node's key, certificate and voucher, and what it checks others by.

        Return the certificate's serial number.

        hosts: names and addresses that the node is dialled at.  Raises ConfigError, StateError.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = general_names(hosts)
        self._check(days, out)
        made = self._certificate(node, names, key.public_key(), days)
        self._hand_out(made, out, key)
        return made.serial_number

    def sign(self, request: Path, days: float, out: Path) -> x509.Certificate:
        """Write what `issue` writes but the key, which never leaves its host.

        request: a file of `qsynth node keys request`.  Raises ConfigError, StateError.
        """
        wanted = read_request(request)
        self._check(days, out)
        made = self._certificate(wanted.node, general_names(wanted.hosts), wanted.key, days)
        self._hand_out(made, out)
        return made

    def vouch(self, certificate: Path, root: Path, out: Path) -> x509.Certificate:
        """Write a voucher for a node whose certificate another authority has issued.

        root: that authority's certificate.  The voucher has a number of its own: what the other
        authority counts by is its affair.  Beside it: the authority of vouchers, and its
        revocations.  Raises ConfigError, StateError.
        """
        try:
            made, *between = x509.load_pem_x509_certificates(certificate.read_bytes())
            trusted = x509.load_pem_x509_certificates(root.read_bytes())
            node_of(made)
            known = leads_to(made, between, trusted)
        except Exception as error:  # of damaged files the library raises whatever it likes
            raise StateError(f"{certificate}: is no certificate of a node ({error})") from None
        if not known:
            raise StateError(f"{certificate}: is not of {root}")
        self._check(days_until(made), out)
        serial = x509.random_serial_number()
        self._record(made, serial)
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._write_voucher(made, serial, out)
            write(out / VOUCHER_AUTHORITY, (self.folder / AUTHORITY).read_bytes())
            write(out / VOUCHER_REVOKED, (self.folder / REVOKED).read_bytes())
        except OSError as error:
            raise StateError(f"{out}: cannot be written ({error})") from None
        return made

    def revoke(self, node: NodeId) -> int:
        """Revoke every certificate of a node; return how many are new.  Raises ConfigError."""
        found = [each for each in self._issued() if node_of(each.certificate) == node]
        if not found:
            raise ConfigError(f"{node.hex()}: {self.folder} has issued it no certificate")
        fresh = 0
        for made in found:
            old = self._before
            by = old if old is not None and made.by == old.certificate.subject else None
            known = (by or self._current).revoked
            fresh += made.serial not in known
            known.setdefault(made.serial, _now())
        self._publish()
        return fresh

    def rotate(self) -> None:
        """Take a new key; certificates of the one before hold until it is retired.

        Raises StateError where one is being replaced already.
        """
        if self._before is not None:
            raise StateError(f"{self.folder}: its last key is not retired yet")
        # Of another name: a list of revocations is looked up by the name of who has issued it.
        made = _new_signer(f"qsynth fleet {x509.random_serial_number():x}"[:40])
        try:
            (self.folder / BEFORE).mkdir(mode=0o700, exist_ok=True)
            write(self.folder / BEFORE / KEY, secret(self._current.key))
            _write_public(self.folder, [made, self._current])
            write(self.folder / KEY, secret(made.key))
        except OSError as error:
            raise StateError(f"{self.folder}: cannot be written ({error})") from None
        self._current, self._before = made, self._current

    def retire(self) -> list[NodeId]:
        """Let the key before go: its certificates hold no more.  Return whose those were.

        Raises StateError where none is being replaced.
        """
        if self._before is None:
            raise StateError(f"{self.folder}: has one key; `qsynth node keys rotate` makes another")
        left, now = self.unrenewed(), [self._current]
        try:
            _write_public(self.folder, now)  # from here on the key before is none
            (self.folder / BEFORE / KEY).unlink()
        except OSError as error:
            raise StateError(f"{self.folder}: cannot be written ({error})") from None
        self._before = None
        return left

    def unrenewed(self) -> list[NodeId]:
        """Return the nodes whose certificates are of the key before alone, and hold still."""
        new: set[NodeId] = set()
        old: set[NodeId] = set()
        for made in self._issued():
            current = made.by == self._current.certificate.subject
            if days_until(made.certificate) > 0 and not self._is_revoked(made.serial):
                (new if current else old).add(node_of(made.certificate))
        return sorted(old - new)

    def _is_revoked(self, serial: int) -> bool:
        signers = [self._current, *([self._before] if self._before else [])]
        return any(serial in each.revoked for each in signers)

    def _check(self, days: float, out: Path) -> None:
        check_out(out)
        if not -MOST_DAYS <= days <= MOST_DAYS:
            raise ConfigError(f"--days={days}: must be at most {MOST_DAYS}")

    def _certificate(
        self,
        node: NodeId,
        names: Sequence[x509.GeneralName],
        key: ec.EllipticCurvePublicKey,
        days: float,
    ) -> x509.Certificate:
        by = self._current
        return (
            _builder(named(node.hex()), by.certificate.subject, key, dt.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(False, None), critical=True)
            .sign(by.key, hashes.SHA256())
        )

    def _hand_out(
        self, made: x509.Certificate, out: Path, key: ec.EllipticCurvePrivateKey | None = None
    ) -> None:
        if key is None and (out / KEY).exists() and _public(out / KEY) != made.public_key():
            raise StateError(f"{out / KEY}: is not the key of the request; use another --out")
        self._record(made, made.serial_number)
        try:
            out.mkdir(parents=True, exist_ok=True)
            if key is not None:
                write(out / KEY, secret(key))
            write(out / CERTIFICATE, made.public_bytes(PEM))
            self._write_voucher(made, made.serial_number, out)
            for name in (AUTHORITY, REVOKED):
                write(out / name, (self.folder / name).read_bytes())
        except OSError as error:
            raise StateError(f"{out}: cannot be written ({error})") from None

    def _record(self, made: x509.Certificate, serial: int) -> None:
        """Keep a certificate, first of all: what is not on record could not be revoked.

        serial: that of its voucher.
        """
        issued = self.folder / ISSUED
        by = self._current.certificate.subject.rfc4514_string()
        try:
            issued.mkdir(exist_ok=True)
            write(issued / f"{serial:x}.pem", f"{BY}{by}\n".encode() + made.public_bytes(PEM))
        except OSError as error:
            raise StateError(f"{issued}: cannot be written ({error})") from None

    def _write_voucher(self, made: x509.Certificate, serial: int, out: Path) -> None:
        until_s = made.not_valid_after_utc.timestamp()
        voucher = make_voucher(self._current.key, node_of(made), serial, until_s)
        write(out / VOUCHER, f"{voucher.hex()}\n".encode())

    def _issued(self) -> list[_Issued]:
        return [_issued(path) for path in sorted((self.folder / ISSUED).glob("*.pem"))]

    def _publish(self) -> None:
        signers = [self._current, *([self._before] if self._before else [])]
        try:
            _write_public(self.folder, signers)
        except OSError as error:
            raise StateError(f"{self.folder}: cannot be written ({error})") from None


@dataclass(frozen=True)
class _Issued:
    """A certificate on record: the number of its voucher, and the name of who has signed that."""

    certificate: x509.Certificate
    serial: int
    by: x509.Name


def _issued(path: Path) -> _Issued:
    data = path.read_bytes()
    made = x509.load_pem_x509_certificate(data)
    first = data.partition(b"\n")[0].decode()
    # Records of versions before have no such line.
    told = first.removeprefix(BY) if first.startswith(BY) else ""
    by = x509.Name.from_rfc4514_string(told) if told else made.issuer
    return _Issued(made, int(path.stem, 16), by)


def check_out(out: Path) -> None:
    """Raise ConfigError where a folder for a node is one of an authority."""
    if any((each / ISSUED).is_dir() for each in (out, out.resolve().parent)):
        raise ConfigError(f"--out={out}: holds the authority itself; use another folder")


class _RetiredError(Exception):
    """A key of an authority has no certificate any more."""


def _signer(
    path: Path,
    certificates: Sequence[x509.Certificate],
    lists: Sequence[x509.CertificateRevocationList],
) -> _Signer:
    """Return a key with what goes with it.  Raises OSError, ValueError, TypeError."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is no P-256 key")
    mine = [each for each in certificates if each.public_key() == key.public_key()]
    if not mine and path.parent.name == BEFORE:
        raise _RetiredError
    if not mine:
        raise ValueError(f"{AUTHORITY} has no certificate of {path}")
    of = [crl for crl in lists if crl.issuer == mine[0].subject]
    revoked = {e.serial_number: e.revocation_date_utc for c in of for e in c}
    return _Signer(key, mine[0], revoked, max((c.last_update_utc for c in of), default=None))


def _public(path: Path) -> object:
    """Return the public key that goes with a private one.  Raises StateError."""
    try:
        return serialization.load_pem_private_key(path.read_bytes(), None).public_key()
    except (OSError, ValueError, TypeError) as error:
        raise StateError(f"{path}: is no private key ({error})") from None


def _new_signer(name: str) -> _Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder(named(name), named(name), key.public_key(), YEARS)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(_usage(), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Signer(key, made)


def _write_public(folder: Path, signers: Sequence[_Signer]) -> None:
    """Write what nodes check others by: the newest key's first.  Raises OSError."""
    lists = b"".join(_revocations(each).public_bytes(PEM) for each in signers)
    write(folder / AUTHORITY, b"".join(each.certificate.public_bytes(PEM) for each in signers))
    write(folder / REVOKED, lists)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, valid: dt.timedelta
) -> x509.CertificateBuilder:
    # An hour back: clocks of a fleet differ.
    now = _now()
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


def _revocations(by: _Signer) -> x509.CertificateRevocationList:
    now = _now()
    # An hour back, for clocks differ; later than the list before, unless a wrong clock made that.
    begin = now - dt.timedelta(hours=1)
    if by.published is not None and by.published < now - dt.timedelta(seconds=2):
        begin = max(begin, by.published + dt.timedelta(seconds=1))
    builder = x509.CertificateRevocationListBuilder().issuer_name(by.certificate.subject)
    by.published = begin
    builder = builder.last_update(begin).next_update(now + YEARS)
    for serial, when in sorted(by.revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(by.key, hashes.SHA256())
