"""Certificates of a fleet, as they stand in a node's folder: read, and held against one another."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from qsynth.errors import StateError
from qsynth.identity.vouchers import VOUCHER, VOUCHER_AUTHORITY, Vouchers, revocations_in
from qsynth.types import NodeId

KEY, CERTIFICATE = "key.pem", "certificate.pem"
AUTHORITY, REVOKED = "authority.pem", "revoked.pem"
ID_BYTES = 32
MOST_CHAIN = 8  # certificates between a node's and its authority's


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
        made, *between = x509.load_pem_x509_certificates((folder / CERTIFICATE).read_bytes())
        key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
        trusted = x509.load_pem_x509_certificates((folder / AUTHORITY).read_bytes())
        own_list = folder / REVOKED
        lists = [] if _without_list(folder) else revocations_in(own_list.read_bytes())
        node, hosts, public = node_of(made), hosts_of(made), key.public_key()
        revoked = [
            each.get_revoked_certificate_by_serial_number(made.serial_number) for each in lists
        ]
    except Exception as error:  # of damaged files the library raises whatever it likes
        raise StateError(f"{folder / CERTIFICATE}: is no certificate of a node ({error})") from None
    if public != made.public_key():
        raise StateError(f"{folder / KEY}: is not the key of the certificate")
    if not leads_to(made, between, trusted):
        raise StateError(f"{folder / CERTIFICATE}: is not of the authority beside it")
    if any(revoked):
        raise StateError(f"{folder / CERTIFICATE}: has been revoked")
    try:
        Vouchers.read(folder).check(_now().timestamp())
    except (OSError, ValueError) as error:
        raise StateError(
            f"{folder / VOUCHER}: is no voucher of this node ({error}); issue it again"
        ) from None
    return Certificate(node, hosts, days_until(made))


def days_until(certificate: x509.Certificate) -> float:
    """Return how many days a certificate holds still; negative where it has ended."""
    return (certificate.not_valid_after_utc - _now()).total_seconds() / 86400


def first_end(folder: Path) -> tuple[str, float] | None:
    """Return which of the things that a node proves itself by ends first, and in how many days.

    None where they cannot be read.
    """
    try:
        certificates = [(CERTIFICATE, each) for each in _certificates(folder / CERTIFICATE)]
        certificates += [(AUTHORITY, each) for each in _certificates(folder / AUTHORITY)]
        ends = [(days_until(each), name) for name, each in certificates]
        if not _without_list(folder):
            lists = revocations_in((folder / REVOKED).read_bytes())
            until = [each.next_update_utc for each in lists]
            ends += [((end - _now()).total_seconds() / 86400, REVOKED) for end in until if end]
    except Exception:  # as above
        return None
    days, name = min(ends)
    return name, days


def _certificates(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def _without_list(folder: Path) -> bool:
    """Whether another authority, which publishes no list, has issued the certificate."""
    return (folder / VOUCHER_AUTHORITY).exists() and not (folder / REVOKED).exists()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def node_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> NodeId:
    """Return the id that is a certificate's common name.  Raises ValueError."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    node = bytes.fromhex(str(names[0].value)) if names else b""
    if len(node) != ID_BYTES:
        raise ValueError("its common name is not the id of a node")
    return node


def hosts_of(certificate: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """Return the names and addresses of a certificate.  Raises x509.ExtensionNotFound."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def leads_to(
    certificate: x509.Certificate,
    between: Sequence[x509.Certificate],
    trusted: Sequence[x509.Certificate],
) -> bool:
    """Return whether a certificate, or one that it was issued by, was issued by a trusted one."""
    for _ in range(MOST_CHAIN):
        if any(_issued(certificate, by) for by in trusted):
            return True
        above = next((by for by in between if _issued(certificate, by)), None)
        if above is None or above == certificate:
            return False
        certificate = above
    return False


def _issued(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
