"""Canonical bytes of a packet: one packet, one encoding; whatever differs is refused.

Layout, little-endian: magic, version, kind, task, encoder, author, sequence, created (ms), ttl,
support, payload size; payload: number of arrays, then each in the order of its name: name size,
name, dtype, number of axes, axes, raw bytes; Ed25519 signature over every preceding byte.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.errors import PacketError
from qsynth.identity import Identity, verify
from qsynth.identity.keys import SIGNATURE_BYTES
from qsynth.packet.packet import KIND_AUTHOR, KIND_SUM, OutcomePacket, Payload

MAGIC = b"QSYP"
VERSION = 1
MAX_BYTES = 32 * 1024
MAX_ARRAYS = 32
MAX_AXES = 4
HEADER = struct.Struct("<4sBB16s16s32sQQIII")
DTYPES = {1: "<i1", 2: "<u1", 3: "<u4", 4: "<f4"}
CODES = {np.dtype(text): code for code, text in DTYPES.items()}


def encode_packet(packet: OutcomePacket, identity: Identity) -> bytes:
    """Return the signed bytes of a packet.  Raises PacketError beyond 32 KiB."""
    if identity.public_key != packet.author:
        raise PacketError("author", "a packet is signed by its author alone")
    body = _encode_arrays(packet.payload)
    header = HEADER.pack(
        MAGIC,
        VERSION,
        packet.kind,
        packet.task,
        packet.encoder,
        packet.author,
        packet.sequence,
        round(packet.created_s * 1000),
        packet.ttl_s,
        packet.support,
        len(body),
    )
    unsigned = header + body
    if len(unsigned) + SIGNATURE_BYTES > MAX_BYTES:
        raise PacketError("size", f"{len(unsigned) + SIGNATURE_BYTES} bytes > {MAX_BYTES}")
    return unsigned + identity.sign(unsigned)


def decode_packet(data: bytes) -> OutcomePacket:
    """Return the packet that `data` holds, its signature checked.

    Checks in order of cost: size, header, signature, arrays.  Raises PacketError with the
    reason `size`, `header`, `signature` or `schema`.
    """
    fields = _decode_header(data)
    unsigned, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
    if not verify(fields[5], unsigned, signature):
        raise PacketError("signature")
    return OutcomePacket(
        kind=fields[2],
        task=fields[3],
        encoder=fields[4],
        author=fields[5],
        sequence=fields[6],
        created_s=fields[7] / 1000.0,
        ttl_s=fields[8],
        support=fields[9],
        payload=_decode_arrays(unsigned[HEADER.size :]),
    )


def packet_digest(data: bytes) -> bytes:
    """Return the 16 bytes that name a packet in the record."""
    return hashlib.sha256(data).digest()[:16]


def payload_digest(payload: Payload) -> str:
    """Return the SHA-256 of a payload's arrays, in hex: what an owner consents to."""
    hashed = hashlib.sha256()
    for key in sorted(payload):
        array = payload[key]
        hashed.update(f"{key}{array.dtype}{array.shape}".encode() + array.tobytes())
    return hashed.hexdigest()


def packet_bytes(payload: Mapping[str, npt.NDArray[Any]]) -> int:
    """Return the size of a packet with this payload, signature included."""
    return HEADER.size + len(_encode_arrays(payload)) + SIGNATURE_BYTES


def _decode_header(data: bytes) -> tuple[Any, ...]:
    if not HEADER.size + 1 + SIGNATURE_BYTES <= len(data) <= MAX_BYTES:
        raise PacketError("size", f"{len(data)} bytes")
    fields = HEADER.unpack_from(data)
    if fields[0] != MAGIC or fields[1] != VERSION or fields[2] not in (KIND_AUTHOR, KIND_SUM):
        raise PacketError("header", "unknown magic, version or kind")
    if HEADER.size + fields[10] + SIGNATURE_BYTES != len(data):
        raise PacketError("header", "payload size does not match")
    return fields


def _encode_arrays(payload: Mapping[str, npt.NDArray[Any]]) -> bytes:
    if len(payload) > MAX_ARRAYS:
        raise PacketError("schema", f"{len(payload)} arrays > {MAX_ARRAYS}")
    parts = [struct.pack("<B", len(payload))]
    for name in sorted(payload):
        array = payload[name]
        if array.dtype not in CODES or array.ndim > MAX_AXES or not 0 < len(name) < 64:
            raise PacketError("schema", f"array {name}: {array.dtype} with {array.ndim} axes")
        text = name.encode("ascii")
        parts.append(struct.pack("<B", len(text)) + text)
        parts.append(struct.pack("<BB", CODES[array.dtype], array.ndim))
        parts.append(struct.pack(f"<{array.ndim}I", *array.shape))
        parts.append(np.ascontiguousarray(array).tobytes())
    return b"".join(parts)


class _Reader:
    """Take bytes from the front, or say that there are too few."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise PacketError("schema", "arrays end early")
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, form: str) -> tuple[int, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))


def _decode_arrays(body: bytes) -> Payload:
    reader, payload = _Reader(body), {}
    (count,) = reader.numbers("<B")
    if count > MAX_ARRAYS:
        raise PacketError("schema", f"{count} arrays > {MAX_ARRAYS}")
    last = b""
    for _ in range(count):
        (size,) = reader.numbers("<B")
        name = reader.take(size)
        if not last < name or not name.isascii() or len(name) >= 64:
            raise PacketError("schema", "array names must be ascii, unique and sorted")
        code, axes = reader.numbers("<BB")
        if code not in DTYPES or axes > MAX_AXES:
            raise PacketError("schema", "unknown dtype or too many axes")
        shape = reader.numbers(f"<{axes}I")
        dtype = np.dtype(DTYPES[code])
        raw = reader.take(math.prod(shape) * dtype.itemsize)
        try:
            payload[name.decode("ascii")] = np.frombuffer(raw, dtype).reshape(shape)
        except ValueError:  # an axis of 0 lets the others be too large for any array
            raise PacketError("schema", "impossible shape") from None
        last = name
    if reader.at != len(body):
        raise PacketError("schema", "bytes after the last array")
    return payload
