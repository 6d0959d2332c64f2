"""Vouchers: an authority's word that an id is of its fleet, small enough to travel with the id.

A TLS connection proves who speaks; a voucher proves it of whom others speak: of a contact in an
answer, of an author who is gone, of whoever wrote a record.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from qsynth.types import NodeId

VOUCHER = "voucher.txt"
# Of whoever signs vouchers, where certificates are of another authority.
VOUCHER_AUTHORITY, VOUCHER_REVOKED = "voucher_authority.pem", "voucher_revoked.pem"
END_OF_REVOCATIONS = b"-----END X509 CRL-----"
SERIAL_BYTES, TIME_BYTES, HALF = 20, 8, 32
VOUCHER_BYTES = SERIAL_BYTES + TIME_BYTES + 2 * HALF
SEAL = b"qsynth voucher 1"
MOST_SEEN = 8192
SIGNING = (ec.EllipticCurvePublicKey, rsa.RSAPublicKey)
PARTIAL = (
    x509.oid.ExtensionOID.DELTA_CRL_INDICATOR,
    x509.oid.ExtensionOID.ISSUING_DISTRIBUTION_POINT,
)


def make_voucher(
    key: ec.EllipticCurvePrivateKey, node: NodeId, serial: int, until_s: float
) -> bytes:
    """Return an authority's voucher for an id: of a certificate, and no longer than it."""
    said = serial.to_bytes(SERIAL_BYTES, "big") + int(max(until_s, 0.0)).to_bytes(TIME_BYTES, "big")
    r, s = decode_dss_signature(key.sign(SEAL + node + said, ec.ECDSA(hashes.SHA256())))
    return said + r.to_bytes(HALF, "big") + s.to_bytes(HALF, "big")


def revocations_in(data: bytes) -> list[x509.CertificateRevocationList]:
    """Return the lists of a file that may hold several, one after another.  Raises ValueError."""
    parts = data.split(END_OF_REVOCATIONS)[:-1]
    if not parts:
        raise ValueError("holds no list of revoked certificates")
    return [x509.load_pem_x509_crl(part + END_OF_REVOCATIONS) for part in parts]


def newest_of(
    lists: Iterable[x509.CertificateRevocationList], authority: x509.Certificate
) -> x509.CertificateRevocationList | None:
    """Return an authority's newest list that counts today; None where there is none."""
    return max((each for each in lists if counts(each, authority)), key=age, default=None)


def counts(made: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    """Return whether a list is a whole one of an authority, and of today."""
    now, key = dt.datetime.now(dt.UTC), authority.public_key()
    if made.issuer != authority.subject or not isinstance(key, SIGNING):
        return False
    if made.last_update_utc > now or (
        made.next_update_utc is not None and made.next_update_utc < now
    ):
        return False
    # What tells of changes alone, or of some certificates, would take the place of the whole.
    if any(each.critical or each.oid in PARTIAL for each in made.extensions):
        return False
    return made.is_signature_valid(key)


def age(made: x509.CertificateRevocationList) -> tuple[dt.datetime, int]:
    """Return what grows from a list to a newer one; within a second, by how many it names."""
    return made.last_update_utc, len(made)


class Vouchers:
    """Tell who is of a fleet, by its authority's keys and revocations.

    authority: certificates; while an authority is renewed, the old one and the new one.  node,
    own: a node's id, and the voucher for it.  Raises ValueError where the certificates or
    revocations cannot be read.
    """

    def __init__(self, authority: bytes, revoked: bytes, node: NodeId, own: bytes) -> None:
        found = [each.public_key() for each in x509.load_pem_x509_certificates(authority)]
        self._keys = [key for key in found if isinstance(key, ec.EllipticCurvePublicKey)]
        if not self._keys:
            raise ValueError("the authority's key is no P-256 key")
        self._revoked = {entry.serial_number for crl in revocations_in(revoked) for entry in crl}
        self._seen: OrderedDict[tuple[NodeId, bytes], bool] = OrderedDict()
        self.node, self.own = node, own

    @classmethod
    def read(cls, folder: Path, more: bytes = b"") -> Vouchers:
        """Return what the folder of a node's certificate holds.

        more: lists of revocations from elsewhere.  Raises OSError, ValueError.
        """
        made = x509.load_pem_x509_certificate((folder / "certificate.pem").read_bytes())
        common = made.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        own = (folder / VOUCHER_AUTHORITY).exists()
        return cls(
            (folder / (VOUCHER_AUTHORITY if own else "authority.pem")).read_bytes(),
            (folder / (VOUCHER_REVOKED if own else "revoked.pem")).read_bytes() + more,
            bytes.fromhex(str(common)),
            bytes.fromhex((folder / VOUCHER).read_text(encoding="ascii")),
        )

    def check(self, now_s: float) -> None:
        """Raise ValueError where one's own voucher would convince nobody.

        now_s: seconds since the epoch.
        """
        if not self._signed(self.node, self.own):
            raise ValueError("is not of this authority, or for another node")
        if not self.vouches(self.node, self.own, now_s):
            raise ValueError("has ended, or was revoked")

    def refuses(self, node: NodeId, voucher: bytes) -> bool:
        """Return whether a voucher's certificate was revoked, or is of no authority any more."""
        serial = int.from_bytes(voucher[:SERIAL_BYTES], "big")
        return serial in self._revoked or not self._known(node, voucher)

    def vouches(self, node: NodeId, voucher: bytes, now_s: float) -> bool:
        """Return whether a voucher says that an id is of the fleet, today.

        now_s: seconds since the epoch.
        """
        if len(voucher) != VOUCHER_BYTES:
            return False
        serial = int.from_bytes(voucher[:SERIAL_BYTES], "big")
        until = int.from_bytes(voucher[SERIAL_BYTES : SERIAL_BYTES + TIME_BYTES], "big")
        if now_s > until or serial in self._revoked:
            return False
        return self._known(node, voucher)

    def _known(self, node: NodeId, voucher: bytes) -> bool:
        seen = self._seen.get((node, voucher))
        if seen is None:
            seen = self._seen[node, voucher] = self._signed(node, voucher)
            while len(self._seen) > MOST_SEEN:
                self._seen.popitem(last=False)
        return seen

    def _signed(self, node: NodeId, voucher: bytes) -> bool:
        if len(voucher) != VOUCHER_BYTES:
            return False
        said, signature = voucher[: -2 * HALF], voucher[-2 * HALF :]
        r, s = (int.from_bytes(half, "big") for half in (signature[:HALF], signature[HALF:]))
        for key in self._keys:
            try:
                key.verify(
                    encode_dss_signature(r, s), SEAL + node + said, ec.ECDSA(hashes.SHA256())
                )
            except InvalidSignature:
                continue
            return True
        return False
