"""Numbers that can be added while nobody reads them: fixed point, masks, shares, checks.

Masks and shares are those of Bonawitz et al. 2017 (practical secure aggregation), section 4: pairs
of members share a mask that one adds and the other subtracts, and each member adds one of its own;
both follow from secrets of which all others hold Shamir shares, so that of who vanishes the pairs'
masks can be taken off, and of who stays its own.  The check is a random linear map: of masked
numbers whose digests are fixed, the map of their sum is the sum of their maps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from qsynth.errors import PacketError, ShapeError
from qsynth.lazy import Deferred
from qsynth.types import Floats

NUMBER_BYTES = 4  # of a masked number
TOTAL_BYTES = 5  # of a sum of at most 64 of them, before it is taken modulo
MODULUS = 1 << (8 * NUMBER_BYTES)
SECRET_BYTES = 16
PRIME = 2**61 - 1  # of the check: what was altered passes with a chance of one in it
Words = npt.NDArray[np.uint64]
_shamir: Any = Deferred("Crypto.Protocol.SecretSharing")


def largest(fraction_bits: int) -> float:
    """Return what a sum must stay below, either way."""
    return (MODULUS >> 1) / 2.0**fraction_bits


def fixed(numbers: Floats, fraction_bits: int) -> Words:
    """Return numbers in fixed point.  Raises ShapeError where one is not finite, or too large."""
    most = largest(fraction_bits)
    if not np.isfinite(numbers).all() or float(np.abs(numbers).max(initial=0.0)) >= most:
        raise ShapeError(f"numbers of a sum must be finite and below {most:.0f}")
    return np.rint(numbers * 2.0**fraction_bits).astype(np.int64).astype(np.uint64) % MODULUS


def floating(words: Words, fraction_bits: int) -> Floats:
    """Return the numbers of fixed-point words."""
    signed = (words % MODULUS).astype(np.int64)
    made: Floats = np.where(signed >= MODULUS >> 1, signed - MODULUS, signed) / 2.0**fraction_bits
    return made


def pack(words: Words, width: int) -> bytes:
    """Return words in so many bytes each, little-endian."""
    return words.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()


def unpack(data: bytes, count: int, width: int) -> Words:
    """Return words of so many bytes.  Raises PacketError where they are not so many."""
    if len(data) != count * width:
        raise PacketError("schema", f"{len(data)} bytes of {count} numbers")
    wide = np.zeros((count, 8), np.uint8)
    wide[:, :width] = np.frombuffer(data, np.uint8).reshape(count, width)
    return wide.reshape(-1).view("<u8").astype(np.uint64)


def mask(seed: bytes, step: int, count: int) -> Words:
    """Return the mask of a seed: words that are evenly spread over all values."""
    return unpack(_stream(seed, b"mask" + bytes([step]), NUMBER_BYTES * count), count, NUMBER_BYTES)


def _stream(seed: bytes, info: bytes, size: int) -> bytes:
    key = HKDF(SHA256(), 32, salt=None, info=b"qsynth cohort " + info).derive(seed)
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(size))


def private_key(secret: bytes) -> X25519PrivateKey:
    """Return the X25519 key of a secret of 16 bytes."""
    derived = HKDF(SHA256(), 32, salt=None, info=b"qsynth cohort key").derive(secret)
    return X25519PrivateKey.from_private_bytes(derived)


def public_key(private: X25519PrivateKey) -> bytes:
    """Return the 32 bytes of a key's public half."""
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def shared(private: X25519PrivateKey, public: bytes, context: bytes) -> bytes:
    """Return the secret that two keys share, for one context.  Raises PacketError."""
    try:
        secret = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise PacketError("schema", "not a key") from None
    return HKDF(SHA256(), 32, salt=None, info=b"qsynth cohort pair" + context).derive(secret)


def usable(public: bytes) -> bool:
    """Return whether bytes are a key that anything can be shared with: not of low order."""
    try:
        X25519PrivateKey.from_private_bytes(bytes(range(32))).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:
        return False
    return True


def seal(key: bytes, sender: bytes, plain: bytes) -> bytes:
    """Return bytes that only who has the key can read; each of its two senders seals once."""
    return ChaCha20Poly1305(key).encrypt(sender.rjust(12, b"\0"), plain, None)


def unseal(key: bytes, sender: bytes, sealed: bytes) -> bytes:
    """Return what was sealed.  Raises PacketError where it was altered."""
    try:
        return ChaCha20Poly1305(key).decrypt(sender.rjust(12, b"\0"), sealed, None)
    except (InvalidTag, ValueError):
        raise PacketError("schema", "a share was altered") from None


def split(secret: bytes, least: int, count: int) -> list[bytes]:
    """Return so many shares of 16 bytes, `least` of which give them again (Shamir 1979)."""
    return [bytes(share) for _, share in _shamir.Shamir.split(least, count, secret)]


def combine(shares: Sequence[tuple[int, bytes]]) -> bytes:
    """Return the secret of shares, each with its place from 0 on.  Raises PacketError."""
    try:
        return bytes(_shamir.Shamir.combine([(place + 1, share) for place, share in shares]))
    except ValueError as error:
        raise PacketError("schema", f"shares: {error}") from None


def coefficients(commitments: Sequence[bytes], context: bytes, count: int) -> list[int]:
    """Return the linear map of a check: it follows from what all members are bound to."""
    seed = hashlib.sha256(context + b"".join(commitments)).digest()
    words = np.frombuffer(_stream(seed, b"check", 8 * count), "<u8")
    return [int(word) % PRIME for word in words]


def checked(words: Words, weights: Sequence[int]) -> int:
    """Return the map of words, modulo the prime."""
    total: int = sum(a * b for a, b in zip(words.tolist(), weights, strict=True))
    return total % PRIME
