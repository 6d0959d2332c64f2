"""Noise that only its node can tell from what it is added to.

It follows from a secret of the node and from what is released: the same records, released in the
same way, get the same noise, so that a node that starts again publishes what it has published, and
spends nothing.  Source of the stream: ChaCha20 (RFC 8439), its key derived by HKDF (RFC 5869).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from qsynth.errors import StateError
from qsynth.lazy import Deferred
from qsynth.types import Floats

KEY_BYTES = 32
FILE = "noise.key"
_special: Any = Deferred("scipy.special")


class Noise:
    """A stream of independent standard normal numbers.

    key: the node's secret.  context: what the noise is for; another one gives other numbers.
    """

    def __init__(self, key: bytes, context: bytes) -> None:
        derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"qsynth noise" + context).derive(key)
        self._stream = Cipher(algorithms.ChaCha20(derived, bytes(16)), mode=None).encryptor()

    def normal(self, *shape: int) -> Floats:
        """Return the next numbers."""
        words = np.frombuffer(self._stream.update(bytes(8 * math.prod(shape))), np.uint64)
        # 52 bits and a half: neither 0 nor 1, of which there is no normal number.
        made: Floats = _special.ndtri(((words >> np.uint64(12)) + 0.5) / 2.0**52).reshape(shape)
        return made


def key_of(home: Path) -> bytes:
    """Return the secret of the node whose home this is; made where there is none.

    Raises StateError where the file cannot be used: with another one, records that were published
    would be published again under other noise.
    """
    path, part = home / FILE, home / f"{FILE}.{os.getpid()}.part"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(os.urandom(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(part, path)  # whole, or not at all
            part.unlink()
            sync_folder(home)
        found = path.read_bytes()
    except OSError as error:
        raise StateError(f"{path}: cannot be made or read ({error})") from None
    if len(found) != KEY_BYTES:
        raise StateError(f"{path}: must hold {KEY_BYTES} bytes")
    return found


def sync_folder(folder: Path) -> None:
    """Wait until the names of a folder's files are on disk.  Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def bound(key: bytes, encoder: bytes) -> bytes:
    """Return the key for features of one encoder: the same noise on others would take it off.

    Of a node without a secret, whose packets are exact, nothing.
    """
    if not key:
        return b""
    return hmac.digest(key, encoder, "sha256")


def simulated_key(*parts: int | str) -> bytes:
    """Return a key that anyone can make again: for simulations only, it is no secret."""
    text = "/".join(["qsynth-simulated-noise", *map(str, parts)])
    return hashlib.sha256(text.encode()).digest()
