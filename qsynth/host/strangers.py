"""What to say where others have published, and none was alike enough to learn from."""

from __future__ import annotations

from typing import Any

from qsynth.host.mesh_host import MeshHost
from qsynth.peers.base import floor_of
from qsynth.pipeline.participant import Participant
from qsynth.sums.tree import SumTree


def unlike(host: MeshHost, participant: Participant, peers: Any) -> str:
    """Return a line on the most alike node that was not alike enough; "": there is no such.

    peers: the option by which the node chooses whom it learns from.
    """
    node, floor = host.node, floor_of(peers)
    with host.paused():
        told = [c for c in node.table.contacts.values() if c.version > 0]
        held = bool(node.held) or node.service(SumTree) is not None
    if held or not told or not floor:
        return ""
    alike = max(participant.alike(contact.vector()) for contact in told)
    if alike >= floor:
        return ""
    return (
        f"{len(told)} nodes have published, none alike enough to learn from: the most alike "
        f"{alike:.2f}, the floor {floor:g}; lower it: peers=qsynth.Semantic(min_similarity=...)"
    )
