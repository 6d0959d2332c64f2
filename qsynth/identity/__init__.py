"""Ed25519 keys, and the ids that are made of them."""

from qsynth.identity.keys import Identity, node_id, verify

__all__ = ["Identity", "node_id", "verify"]
