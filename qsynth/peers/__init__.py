"""Which peers a node learns from."""

from qsynth.peers.choose import Peers, make_peers

__all__ = ["Peers", "make_peers"]
