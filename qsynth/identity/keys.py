"""Keys and ids: a node's id is the SHA-256 of its public key, never derived from its data."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.exceptions import ValueError as NaClValueError
from nacl.signing import SigningKey

from qsynth.types import NodeId

KEY_BYTES = 32
SIGNATURE_BYTES = 64


def node_id(public_key: bytes) -> NodeId:
    """Return the 32-byte id of a public key."""
    return hashlib.sha256(public_key).digest()


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` over `message` is that of `public_key`."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != KEY_BYTES:
        return False
    try:
        crypto_sign_open(signature + message, public_key)
    except (BadSignatureError, NaClValueError, ValueError, TypeError):
        return False
    return True


class Identity:
    """A node's Ed25519 key pair.  Source: RFC 8032."""

    def __init__(self, secret: bytes) -> None:
        self._key = SigningKey(secret)
        self.public_key = bytes(self._key.verify_key)
        self.id: NodeId = node_id(self.public_key)

    @classmethod
    def random(cls) -> Identity:
        """Return a new identity from the system's randomness."""
        return cls(os.urandom(KEY_BYTES))

    @classmethod
    def seeded(cls, *parts: int | str) -> Identity:
        """Return an identity that anyone can make again: for simulations only, it is no secret."""
        text = "/".join(["qsynth-simulated-identity", *map(str, parts)])
        return cls(hashlib.sha256(text.encode()).digest())

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of a message."""
        return bytes(self._key.sign(message).signature)

    def save(self, path: Path) -> None:
        """Write the secret key, readable by its owner alone."""
        path.unlink(missing_ok=True)  # also a link that somebody has put there
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(bytes(self._key))

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Return the identity that `save` wrote."""
        return cls(path.read_bytes())
