"""What a node knows of another: id, address, fingerprint and its version."""

from __future__ import annotations

import msgspec
import numpy as np

from qsynth.types import Fingerprint, NodeId

ID_BYTES = 32
MAX_ADDRESS = 160
MAX_DENSITY = 127
# A peer may name these alone: `pipe:` is how a transport calls its own connections.
SCHEMES = ("ipc://", "tcp://", "tls+tcp://", "memory:")
UNREACHABLE = "none:"  # of a node that can only dial out and that nobody relays yet
RELAY = "relay:"


class Contact(msgspec.Struct, frozen=True, array_like=True):
    """Name a node: 32-byte id, address, int8 fingerprint as bytes, and its version.

    version: the sequence number of the packet that the fingerprint was computed from; 0 before
    the first.  finished: it has ended its training and only serves.  density: how alike its most
    alike contacts are to it on average, in steps of 1/127.
    """

    id: NodeId
    address: str
    fingerprint: bytes
    version: int
    finished: bool = False
    density: int = 0

    def vector(self) -> Fingerprint:
        """Return the fingerprint as (d,) int8."""
        return np.frombuffer(self.fingerprint, np.int8)

    def valid(self, size: int) -> bool:
        """Return whether all fields are in range; size: of this task's fingerprints."""
        return (
            len(self.id) == ID_BYTES
            and self._reachable()
            and len(self.address) <= MAX_ADDRESS
            and len(self.fingerprint) == size
            and 0 <= self.version < 2**63
            and 0 <= self.density <= MAX_DENSITY
        )

    def _reachable(self) -> bool:
        """Return whether the address is one of a kind that this node may tell of itself."""
        inner = relayed(self.address)
        if inner is not None:
            return inner[0] == self.id and inner[1].startswith(SCHEMES)
        return self.address == UNREACHABLE or self.address.startswith(SCHEMES)


def relay_address(node: NodeId, through: str) -> str:
    """Return the address of a node that is reached through another's address."""
    return f"{RELAY}{node.hex()}@{through}"


def relayed(address: str) -> tuple[NodeId, str] | None:
    """Return which node an address is of and through which address; None where it is direct."""
    if not address.startswith(RELAY):
        return None
    name, _, through = address[len(RELAY) :].partition("@")
    try:
        node = bytes.fromhex(name)
    except ValueError:
        node = b""
    return node, through
