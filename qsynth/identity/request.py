"""A node's request for a certificate: made where the node is, so that its key never leaves there.

A request is PKCS #10 (RFC 2986), signed by the key that the certificate will be of.  One extension
more holds the node's Ed25519 key and its signature of that key: an authority that signs by the id
in a request signs for whoever has the identity, and for nobody else.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from qsynth.errors import ConfigError, StateError, printable
from qsynth.identity.certificates import KEY, hosts_of, node_of
from qsynth.identity.keys import KEY_BYTES, Identity, node_id, verify
from qsynth.types import NodeId

REQUEST = "request.pem"
PEM = serialization.Encoding.PEM
SEAL = b"qsynth certificate request 1"
# Of the kind that anyone may make up: below 2.25 stands a random UUID (ITU-T X.667).
PROOF = x509.ObjectIdentifier("2.25.302418361285094270481746281504923160853")
MOST_REQUEST_BYTES, MOST_HOSTS = 16384, 64
# A name of letters, digits and hyphens (RFC 1123, section 2.1); no wildcard.
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(\.{LABEL})*")


@dataclass(frozen=True)
class Request:
    """What a node wants a certificate for.  key: the public key that it will be of."""

    node: NodeId
    hosts: tuple[str, ...]
    key: ec.EllipticCurvePublicKey


def make_request(identity: Identity, hosts: Sequence[str], folder: Path) -> Path:
    """Write a node's key, where there is none yet, and its request; return the request's path.

    hosts: names and addresses that the node is dialled at.  Raises ConfigError, StateError.
    """
    names = general_names(hosts)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = _key_in(folder)
        proof = identity.public_key + identity.sign(_said(key.public_key()))
        made = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(named(identity.id.hex()))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.UnrecognizedExtension(PROOF, proof), critical=False)
            .sign(key, hashes.SHA256())
        )
        write(folder / REQUEST, made.public_bytes(PEM))
    except OSError as error:
        raise StateError(f"{folder}: cannot be written ({error})") from None
    return folder / REQUEST


def read_request(path: Path) -> Request:
    """Return what a request says, once both of its signatures have been checked.

    Raises StateError.
    """
    try:
        if path.stat().st_size > MOST_REQUEST_BYTES:
            raise ValueError(f"it has more than {MOST_REQUEST_BYTES} bytes")
        made = x509.load_pem_x509_csr(path.read_bytes())
        node, hosts, key = node_of(made), hosts_of(made), made.public_key()
        proof, signed = made.extensions.get_extension_for_oid(PROOF).value, made.is_signature_valid
    except x509.ExtensionNotFound as error:
        raise StateError(f"{path}: is no request of `qsynth node keys request` ({error})") from None
    except Exception as error:  # of damaged files the library raises whatever it likes
        raise StateError(f"{path}: is no certificate request ({printable(str(error))})") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise StateError(f"{path}: its key is no P-256 key")
    if not 0 < len(hosts) <= MOST_HOSTS:
        raise StateError(f"{path}: names {len(hosts)} hosts; must be 1 to {MOST_HOSTS}")
    said = proof.value if isinstance(proof, x509.UnrecognizedExtension) else b""
    identity, signature = said[:KEY_BYTES], said[KEY_BYTES:]
    mine = node_id(identity) == node and verify(identity, _said(key), signature)
    if not signed or not mine:
        raise StateError(f"{path}: is not signed by the node that it names")
    try:
        general_names(hosts)
    except ConfigError as error:
        raise StateError(f"{path}: {error}") from None
    return Request(node, hosts, key)


def general_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Return hosts as a certificate names them.  Raises ConfigError."""
    if not 0 < len(hosts) <= MOST_HOSTS:
        raise ConfigError(
            f"--host: a certificate needs the names the node is dialled at, 1 to {MOST_HOSTS}"
        )
    return [_general(host) for host in hosts]


def named(common: str) -> x509.Name:
    """Return a subject of a common name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def secret(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as the bytes of its file."""
    plain = serialization.NoEncryption()
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain)


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; keys are readable by their owner alone.  Raises OSError."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)  # whoever has made it
    mode = 0o600 if path.name == KEY else 0o644
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _key_in(folder: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of a folder, made where there is none.  Raises OSError, StateError."""
    if not (folder / KEY).exists():
        made = ec.generate_private_key(ec.SECP256R1())
        write(folder / KEY, secret(made))
        return made
    try:
        key = serialization.load_pem_private_key((folder / KEY).read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise StateError(f"{folder / KEY}: is no private key ({error})") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise StateError(f"{folder / KEY}: is no P-256 key")
    return key


def _said(key: ec.EllipticCurvePublicKey) -> bytes:
    plain = serialization.PublicFormat.SubjectPublicKeyInfo
    return SEAL + key.public_bytes(serialization.Encoding.DER, plain)


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    if HOST.fullmatch(host) is None:
        raise ConfigError(f"--host={printable(host)}: must be a name or an address")
    return x509.DNSName(host)
