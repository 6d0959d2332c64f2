"""Packets as bytes, by digest: what a node can show of what it has added."""

from __future__ import annotations

from collections import OrderedDict

from qsynth.packet import packet_digest


class PacketCache:
    """Keep the bytes of the packets used last, and vouchers for their authors.

    most: packets at most.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: OrderedDict[bytes, tuple[bytes, bytes]] = OrderedDict()

    def put(self, data: bytes, voucher: bytes = b"") -> bytes:
        """Keep a packet's bytes; return their digest."""
        digest = packet_digest(data)
        self._kept[digest] = data, voucher
        self._kept.move_to_end(digest)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)
        return digest

    def drop(self, digest: bytes) -> None:
        """Keep a packet no longer."""
        self._kept.pop(digest, None)

    def get(self, digest: bytes) -> bytes:
        """Return a packet's bytes, empty where it is not kept."""
        data, _ = self._kept.get(digest, (b"", b""))
        if data:
            self._kept.move_to_end(digest)
        return data

    def voucher(self, digest: bytes) -> bytes:
        """Return the voucher for a packet's author, empty where there is none."""
        return self._kept.get(digest, (b"", b""))[1]
