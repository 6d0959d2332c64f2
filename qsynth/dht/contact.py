"""What a node knows of another: id, address, fingerprint and its version."""

from __future__ import annotations

import msgspec
import numpy as np

from qsynth.identity import Identity, node_id, verify
from qsynth.identity.keys import KEY_BYTES, SIGNATURE_BYTES
from qsynth.identity.vouchers import Vouchers
from qsynth.types import Fingerprint, NodeId

ID_BYTES = 32
MAX_ADDRESS = 160
MAX_DENSITY = 127
# A peer may name these alone: `pipe:` is how a transport calls its own connections.
SCHEMES = ("ipc://", "tcp://", "tls+tcp://", "memory:")
UNREACHABLE = "none:"  # of a node that can only dial out and that nobody relays yet
RELAY = "relay:"
SEAL = b"qsynth contact 1"
SIGNED = KEY_BYTES + SIGNATURE_BYTES
STAMP_BYTES = 8
MOST_SKEW_S = 3600.0  # by which a signer's clock may be ahead
MAX_PROOF = 512


class Contact(msgspec.Struct, frozen=True, array_like=True):
    """Name a node: 32-byte id, address, int8 fingerprint as bytes, and its version.

    version: the sequence number of the packet that the fingerprint was computed from; 0 before
    the first.  finished: it has ended its training and only serves.  density: how alike its most
    alike contacts are to it on average, in steps of 1/127.  proof: in a fleet with an authority,
    its public key, its signature over the other fields, when that was, and its voucher; else empty.
    """

    id: NodeId
    address: str
    fingerprint: bytes
    version: int
    finished: bool = False
    density: int = 0
    proof: bytes = b""

    def vector(self) -> Fingerprint:
        """Return the fingerprint as (d,) int8."""
        return np.frombuffer(self.fingerprint, np.int8)

    def valid(self, size: int, scheme: str = "") -> bool:
        """Return whether all fields are in range.

        size: of this task's fingerprints.  scheme: that addresses must have; empty: any.
        """
        return (
            len(self.id) == ID_BYTES
            and scheme in ("", scheme_of(self.address) or scheme)
            and self._reachable()
            and len(self.address) <= MAX_ADDRESS
            and len(self.fingerprint) == size
            and 0 <= self.version < 2**63
            and 0 <= self.density <= MAX_DENSITY
            and len(self.proof) <= MAX_PROOF
        )

    @property
    def voucher(self) -> bytes:
        """Return the authority's voucher for the id; empty where it brings none."""
        return self.proof[SIGNED + STAMP_BYTES :]

    @property
    def stamp(self) -> int:
        """Return when it was signed, milliseconds since the epoch; 0 where it was not."""
        return int.from_bytes(self.proof[SIGNED : SIGNED + STAMP_BYTES], "big")

    def proved(self, vouchers: Vouchers, scope: bytes, now_s: float) -> bool:
        """Return whether whom it names has said all of this, and is of the fleet.

        scope: what it must have been said for: the digest of a task.
        """
        key, signature = self.proof[:KEY_BYTES], self.proof[KEY_BYTES:SIGNED]
        return (
            node_id(key) == self.id
            and self.stamp <= 1000.0 * (now_s + MOST_SKEW_S)
            and vouchers.vouches(self.id, self.voucher, now_s)
            and verify(key, _said(self, scope, self.stamp), signature)
        )

    def _reachable(self) -> bool:
        """Return whether the address is one of a kind that this node may tell of itself."""
        inner = relayed(self.address)
        if inner is not None:
            return inner[0] == self.id and inner[1].startswith(SCHEMES)
        return self.address == UNREACHABLE or self.address.startswith(SCHEMES)


def prove(
    contact: Contact, identity: Identity, voucher: bytes, scope: bytes, now_s: float
) -> Contact:
    """Return one's own contact with its proof."""
    stamp = max(0, int(1000.0 * now_s))
    signature = identity.sign(_said(contact, scope, stamp))
    proof = identity.public_key + signature + stamp.to_bytes(STAMP_BYTES, "big") + voucher
    return msgspec.structs.replace(contact, proof=proof)


def _said(contact: Contact, scope: bytes, stamp: int) -> bytes:
    bare = msgspec.msgpack.encode(msgspec.structs.replace(contact, proof=b""))
    return SEAL + scope + stamp.to_bytes(STAMP_BYTES, "big") + bare


def relay_address(node: NodeId, through: str) -> str:
    """Return the address of a node that is reached through another's address."""
    return f"{RELAY}{node.hex()}@{through}"


def scheme_of(address: str) -> str:
    """Return how the address begins that is dialled; empty where nobody can be."""
    direct = address.partition("@")[2] if address.startswith(RELAY) else address
    return next((scheme for scheme in SCHEMES if direct.startswith(scheme)), "")


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
