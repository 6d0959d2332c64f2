"""Take a packet that was fetched: check it, hold it, and hold no more than so many."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from qsynth.dht import Contact
from qsynth.errors import PacketError
from qsynth.mesh import Answer
from qsynth.peers import Peers
from qsynth.protocol import messages
from qsynth.protocol.effects import Effects, Meeting
from qsynth.protocol.journal import DROPPED, HELD, Entry
from qsynth.protocol.replication import Replication
from qsynth.protocol.withdrawals import Withdrawals
from qsynth.trust import Admission, Admitted
from qsynth.types import Fingerprint, NodeId


class Fetcher(Protocol):
    """What taking packets needs of a node."""

    admission: Admission
    replication: Replication
    peers: Peers
    held: dict[NodeId, Admitted]
    counts: Counter[str]
    entries: list[Entry]
    query: Fingerprint
    same: float
    withdrawals: Withdrawals
    forgotten: set[NodeId]

    @property
    def membership(self) -> Meeting:
        """Return what tells who may be taken for a node."""

    def wall_s(self) -> float:
        """Return seconds since the epoch."""


def fetched(node: Fetcher, answer: Answer, claimed: Contact, effects: Effects) -> None:
    """Admit the packet in an answer, or count why not.  claimed: its author, as announced."""
    body = messages.unpack(answer.body, messages.Packet)
    if body is None or not body.data:
        node.counts["empty_fetch"] += 1
        node.replication.barren(claimed.id)
        return
    if not node.membership.valid(claimed):
        return  # refused since it was asked for; counted there
    held = node.held.get(claimed.id)
    after = max(held.packet.sequence if held else 0, node.withdrawals.covers(claimed.id))
    if node.withdrawals.covers(claimed.id) >= claimed.version or claimed.id in node.forgotten:
        node.counts["rejected_withdrawn"] += 1
        return
    effects.record("fetch", author=claimed.id.hex(), bytes=len(body.data))
    try:
        admitted = node.admission.admit(
            body.data, claimed.id, after, claimed.vector(), claimed.version, node.wall_s()
        )
    except PacketError as error:
        node.counts[f"rejected_{error.reason}"] += 1
        effects.record("reject", author=claimed.id.hex(), reason=error.reason)
        if error.reason == "fingerprint":
            node.peers.forged(claimed)
        return
    node.held[claimed.id] = admitted
    node.peers.arrived(claimed.id, admitted.packet.sequence)
    node.replication.put(body.data, admitted, claimed)
    node.entries.append(Entry(HELD, body.data, claimed))
    _bound(node, effects)
    effects.record("admit", author=claimed.id.hex(), version=admitted.packet.sequence)


def _bound(node: Fetcher, effects: Effects) -> None:
    while len(node.held) > node.admission.config.max_authors:
        prints = {author: held.fingerprint for author, held in node.held.items()}
        wanted = set(node.peers.authors(prints, node.query, node.same))
        author = min(node.held, key=lambda a: (a in wanted, node.held[a].packet.created_s))
        kept = node.replication.kept.get(author)
        if kept is not None:
            node.entries.append(Entry(DROPPED, b"", kept.author))
        del node.held[author]
        effects.record("dropped", author=author.hex(), reason="max_authors")
