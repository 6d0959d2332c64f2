from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.errors import PacketError
from qsynth.identity import Identity, verify
from qsynth.packet import OutcomePacket, decode_packet, encode_packet, packet_bytes, packet_digest
from qsynth.packet.codec import HEADER, MAX_BYTES

AUTHOR = Identity.seeded("test", 0)


def packet(**changes: object) -> OutcomePacket:
    values = dict(
        task=b"t" * 16,
        encoder=b"e" * 16,
        author=AUTHOR.public_key,
        sequence=3,
        created_s=1_700_000_000.25,
        ttl_s=60,
        support=12,
        payload={
            "counts": np.arange(3, dtype=np.uint32),
            "x": np.ones((2, 3), np.int8),
            "scales": np.array([0.5, 2.0], np.float32),
        },
    )
    return OutcomePacket(**(values | changes))  # type: ignore[arg-type]


def test_a_packet_comes_back_as_it_was() -> None:
    data = encode_packet(packet(), AUTHOR)
    back = decode_packet(data)
    for field in ("task", "encoder", "author", "sequence", "created_s", "ttl_s", "support"):
        assert getattr(back, field) == getattr(packet(), field)
    assert back.payload.keys() == packet().payload.keys()
    assert all(np.array_equal(back.payload[k], v) for k, v in packet().payload.items())
    assert encode_packet(back, AUTHOR) == data
    assert len(data) == packet_bytes(packet().payload)


def test_the_order_of_arrays_does_not_matter() -> None:
    turned = dict(reversed(packet().payload.items()))
    assert encode_packet(packet(payload=turned), AUTHOR) == encode_packet(packet(), AUTHOR)


def test_any_flipped_bit_is_refused() -> None:
    data = encode_packet(packet(), AUTHOR)
    for bit in range(8 * len(data)):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PacketError) as caught:
            decode_packet(bytes(bad))
        assert caught.value.reason in ("size", "header", "signature")


def test_every_truncation_and_extension_is_refused() -> None:
    data = encode_packet(packet(), AUTHOR)
    for size in range(len(data)):
        with pytest.raises(PacketError):
            decode_packet(data[:size])
    with pytest.raises(PacketError):
        decode_packet(data + b"\0")


def test_only_the_author_signs() -> None:
    with pytest.raises(PacketError, match="author"):
        encode_packet(packet(), Identity.seeded("test", 1))


def test_a_packet_over_the_limit_is_refused() -> None:
    big = {"x": np.zeros(MAX_BYTES, np.int8)}
    with pytest.raises(PacketError, match="size"):
        encode_packet(packet(payload=big), AUTHOR)


def signed(body: bytes) -> bytes:
    """A packet with a right signature around any body: only the arrays can be wrong."""
    head = HEADER.pack(
        b"QSYP", 1, 1, b"t" * 16, b"e" * 16, AUTHOR.public_key, 1, 0, 1, 1, len(body)
    )
    return head + body + AUTHOR.sign(head + body)


@settings(max_examples=400, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_any_signed_body_decodes_or_is_refused(body: bytes) -> None:
    try:
        back = decode_packet(signed(body))
    except PacketError as error:
        assert error.reason == "schema"
    else:
        assert encode_packet(back, AUTHOR)[HEADER.size : -64] == body


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_without_a_crash(data: bytes) -> None:
    with pytest.raises(PacketError):
        decode_packet(data)


def test_a_huge_claimed_shape_allocates_nothing() -> None:
    body = b"\x01" + b"\x01x" + bytes([4, 4]) + struct.pack("<4I", *[2**32 - 1] * 4)
    with pytest.raises(PacketError, match="schema"):
        decode_packet(signed(body))
    nothing = b"\x01" + b"\x01x" + bytes([4, 4]) + struct.pack("<4I", 0, *[2**32 - 1] * 3)
    with pytest.raises(PacketError, match="schema"):
        decode_packet(signed(nothing))


def test_identity_is_deterministic_from_a_seed_and_random_otherwise() -> None:
    assert Identity.seeded(1, "a").id == Identity.seeded(1, "a").id
    assert Identity.seeded(1, "a").id != Identity.seeded(1, "b").id
    assert Identity.random().id != Identity.random().id
    assert len(AUTHOR.id) == 32
    assert verify(AUTHOR.public_key, b"m", AUTHOR.sign(b"m"))
    assert not verify(AUTHOR.public_key, b"n", AUTHOR.sign(b"m"))
    assert not verify(b"short", b"m", b"s")


def test_an_identity_is_saved_for_its_owner_alone(tmp_path) -> None:
    AUTHOR.save(tmp_path / "identity")
    assert (tmp_path / "identity").stat().st_mode & 0o777 == 0o600
    assert Identity.load(tmp_path / "identity").id == AUTHOR.id


def test_expiry_and_digest() -> None:
    assert not packet().expired(1_700_000_060.0)
    assert packet().expired(1_700_000_060.25)
    assert len(packet_digest(b"x")) == 16
