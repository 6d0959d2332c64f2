"""Revocations that reach one node reach all: lists of an authority travel as records of the mesh.

A list is signed by its authority, so whoever hands it on cannot change it.  Only a whole one of
today is taken, that is newer than a node's own and takes nobody back.  The key of its record
follows from the authority's key.  What came through the mesh is kept in the node's home: the files
of its owner stay as they are.
"""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from qsynth.dht.record import Record, record_key
from qsynth.identity.certificates import AUTHORITY, REVOKED
from qsynth.identity.request import write
from qsynth.identity.vouchers import (
    VOUCHER_AUTHORITY,
    VOUCHER_REVOKED,
    age,
    counts,
    newest_of,
    revocations_in,
)

LOOK_S = 20.0  # between two looks
TTL_S = 3600.0
COPIES = 3  # of a list, by different nodes: no more are needed
PAIRS = ((AUTHORITY, REVOKED), (VOUCHER_AUTHORITY, VOUCHER_REVOKED))

Revoked = x509.CertificateRevocationList


class Recording(Protocol):
    """What stores and reads records, and takes notes."""

    def store(self, key: bytes, value: bytes, ttl_s: float) -> Future[int]:
        """Store a value."""

    def get(self, key: bytes, author: bytes = b"") -> Future[list[Record]]:
        """Read what is stored under a key."""

    def note(self, records: list[dict[str, Any]]) -> None:
        """Record what is to be known."""


class Revocations:
    """Keep the lists of a node's authorities the newest that anybody in the mesh has.

    folder: of its certificate.  kept: the file for what came through the mesh; whoever watches it
    sees what is newer.  author: the node's public key.
    """

    def __init__(self, folder: Path, kept: Path, author: bytes, host: Recording) -> None:
        self._folder, self._kept, self._author, self._host = folder, kept, author, host
        self._came: deque[tuple[x509.Certificate, Path, list[Record]]] = deque()
        self._look_at = 0.0
        self._told = ""

    def look(self, now: float) -> None:
        """Take what has come, and now and then read what others have.  now: seconds.

        Raises MeshError where the node is closed.
        """
        while self._came:  # in this thread alone: others only append
            self._take(*self._came.popleft())
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for authorities, revoked in PAIRS:
            for authority in _certificates(self._folder / authorities):
                came = partial(self._keep, authority, self._folder / revoked)
                self._host.get(key_of(authority)).add_done_callback(came)

    def _keep(self, authority: x509.Certificate, path: Path, found: Future[list[Record]]) -> None:
        """Keep what has come, in whatever thread that is."""
        if found.exception() is None:
            self._came.append((authority, path, found.result()))

    def _take(self, authority: x509.Certificate, path: Path, found: list[Record]) -> None:
        """Take a newer list, or hand on one's own where few have."""
        lists = [*_lists(path), *_lists(self._kept)]
        own = newest_of(lists, authority)
        by_value = {value: list_in(value, authority) for value in {r.value for r in found}}
        known = [(record.author, by_value[record.value]) for record in found]
        newest = max((each for _, each in known if each is not None), key=age, default=None)
        if newest is not None and (own is None or age(newest) > age(own)):
            if own is not None and _serials(own) - _serials(newest):
                self._tell(
                    f"a newer list of revocations takes some back; copy it to {path} if that is "
                    "right"
                )
                return
            self._save(authority, newest)
            return
        if own is None or not len(own):
            return
        having = {author for author, each in known if each == own}
        if len(having) < COPIES and self._author not in having:
            self._hand_on(authority, own)

    def _save(self, authority: x509.Certificate, newest: Revoked) -> None:
        others = [each for each in _lists(self._kept) if each.issuer != authority.subject]
        data = b"".join(each.public_bytes(Encoding.PEM) for each in [newest, *others])
        try:
            write(self._kept, data)
        except OSError as error:
            self._tell(f"{self._kept}: a newer list of revocations cannot be written ({error})")

    def _hand_on(self, authority: x509.Certificate, own: Revoked) -> None:
        try:
            self._host.store(key_of(authority), own.public_bytes(Encoding.DER), TTL_S)
        except ValueError as error:
            self._tell(f"its list of revocations is not handed on, copy it to each node: {error}")

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            self._host.note([{"event": "certificates_refused", "reason": reason}])


def key_of(authority: x509.Certificate) -> bytes:
    """Return the key that an authority's list is stored under."""
    plain = PublicFormat.SubjectPublicKeyInfo
    public = authority.public_key().public_bytes(Encoding.DER, plain)
    return record_key(f"revocations {hashlib.sha256(public).hexdigest()}")


def list_in(value: bytes, authority: x509.Certificate) -> Revoked | None:
    """Return the list that a record's value is, where it is one of an authority that counts."""
    try:
        made = x509.load_der_x509_crl(value)
        return made if counts(made, authority) else None
    except Exception:  # of a stranger's bytes the library raises whatever it likes
        return None


def _serials(made: Revoked) -> set[int]:
    return {entry.serial_number for entry in made}


def _lists(path: Path) -> list[Revoked]:
    try:
        return revocations_in(path.read_bytes())
    except (OSError, ValueError):
        return []  # there is none, or it is being written


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return []  # likewise
