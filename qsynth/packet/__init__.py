"""Outcome packets: small, signed, canonical bytes."""

from qsynth.packet.codec import (
    MAX_BYTES,
    decode_packet,
    encode_packet,
    packet_bytes,
    packet_digest,
    payload_digest,
)
from qsynth.packet.packet import KIND_AUTHOR, KIND_SUM, OutcomePacket, Payload
from qsynth.packet.statistics import (
    Statistics,
    class_statistics,
    in_units,
    joint_statistics,
    merge,
    redrawn,
    restricted,
    scaled,
    spread_of_means,
)

__all__ = [
    "KIND_AUTHOR",
    "KIND_SUM",
    "MAX_BYTES",
    "OutcomePacket",
    "Payload",
    "Statistics",
    "class_statistics",
    "decode_packet",
    "encode_packet",
    "in_units",
    "joint_statistics",
    "merge",
    "redrawn",
    "restricted",
    "packet_bytes",
    "packet_digest",
    "payload_digest",
    "scaled",
    "spread_of_means",
]
