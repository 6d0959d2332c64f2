"""Which peers a node learns from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.peers.base import Peers, make_peers

__all__ = ["Peers", "make_peers"]
__getattr__ = exports(__name__, {"Peers": "base", "make_peers": "base"})
