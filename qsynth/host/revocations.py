"""Revocations that reach one node reach all: lists of an authority travel as records of the mesh.

A list is signed by its authority, so whoever hands it on cannot change it, and only one that is
newer than a node's own is taken.  The key of its record follows from the authority's key.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from qsynth.dht.record import Record, record_key
from qsynth.errors import MeshError
from qsynth.identity.certificates import AUTHORITY, REVOKED
from qsynth.identity.request import write
from qsynth.identity.vouchers import VOUCHER_AUTHORITY, VOUCHER_REVOKED, revocations_in

LOOK_S = 20.0  # between two looks
TTL_S = 3600.0
COPIES = 3  # of a list, by different nodes: no more are needed
PAIRS = ((AUTHORITY, REVOKED), (VOUCHER_AUTHORITY, VOUCHER_REVOKED))


class Recording(Protocol):
    """What stores and reads records, and takes notes."""

    def store(self, key: bytes, value: bytes, ttl_s: float) -> Future[int]:
        """Store a value."""

    def get(self, key: bytes, author: bytes = b"") -> Future[list[Record]]:
        """Read what is stored under a key."""

    def note(self, records: list[dict[str, Any]]) -> None:
        """Record what is to be known."""


class Revocations:
    """Keep the lists in a node's folder the newest that anybody in the mesh has.

    What is newer is written there, for whoever watches the folder.
    """

    def __init__(self, folder: Path, host: Recording) -> None:
        self._folder, self._host = folder, host
        self._look_at = 0.0
        self._told = ""

    def look(self, now: float) -> None:
        """Read what others have, now and then; what came is taken when it comes.  now: seconds."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for authorities, revoked in PAIRS:
            for authority in self._authorities(authorities):
                came = partial(self._came, authority, self._folder / revoked)
                self._host.get(key_of(authority)).add_done_callback(came)

    def _authorities(self, name: str) -> list[x509.Certificate]:
        try:
            return x509.load_pem_x509_certificates((self._folder / name).read_bytes())
        except (OSError, ValueError):
            return []  # there is none, or it is being written

    def _came(self, authority: x509.Certificate, path: Path, found: Future[list[Record]]) -> None:
        try:
            lists = revocations_in(path.read_bytes())
            theirs = [_list_in(record.value, authority) for record in found.result()]
        except (OSError, ValueError, MeshError):
            return  # the folder is being written, or the node ends: at the next look
        own = max((each for each in lists if _is_of(each, authority)), key=_age, default=None)
        known = [each for each in theirs if each is not None]
        newest = max(known, key=_age, default=None)
        if newest is not None and (own is None or _age(newest) > _age(own)):
            self._take(authority, path, lists, newest)
        elif own is not None and len(own) and known.count(own) < COPIES:
            self._hand_on(authority, own)

    def _take(
        self,
        authority: x509.Certificate,
        path: Path,
        lists: Sequence[x509.CertificateRevocationList],
        newest: x509.CertificateRevocationList,
    ) -> None:
        others = [each for each in lists if each.issuer != authority.subject]
        data = b"".join(each.public_bytes(Encoding.PEM) for each in [newest, *others])
        try:
            write(path, data)
        except OSError as error:
            self._tell(f"{path}: a newer list of others cannot be written ({error})")

    def _hand_on(self, authority: x509.Certificate, own: x509.CertificateRevocationList) -> None:
        try:
            self._host.store(key_of(authority), own.public_bytes(Encoding.DER), TTL_S)
        except ValueError as error:
            self._tell(f"its list of revocations is not handed on, copy it: {error}")
        except MeshError:
            pass  # the node ends

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            self._host.note([{"event": "certificates_refused", "reason": reason}])


def key_of(authority: x509.Certificate) -> bytes:
    """Return the key that an authority's list is stored under."""
    plain = PublicFormat.SubjectPublicKeyInfo
    public = authority.public_key().public_bytes(Encoding.DER, plain)
    return record_key(f"revocations {hashlib.sha256(public).hexdigest()}")


def _list_in(value: bytes, authority: x509.Certificate) -> x509.CertificateRevocationList | None:
    """Return the list that a record's value is, where it is one of an authority."""
    try:
        made = x509.load_der_x509_crl(value)
    except ValueError:
        return None
    return made if _is_of(made, authority) else None


def _is_of(made: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    if made.issuer != authority.subject or not isinstance(
        key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey
    ):
        return False
    return made.is_signature_valid(key)


def _age(made: x509.CertificateRevocationList) -> tuple[dt.datetime, int]:
    """Return what grows from a list to a newer one; within a second, by what it names."""
    return made.last_update_utc, len(made)
