"""A node out of its entries, and the entries of a node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from qsynth.dht import Contact, Table
from qsynth.errors import PacketError
from qsynth.mesh.pressure import Budget
from qsynth.packet import OutcomePacket, decode_packet
from qsynth.protocol.effects import Meeting
from qsynth.protocol.journal import (
    BUDGET,
    CONTACT,
    DROPPED,
    FORGOTTEN,
    HELD,
    KEPT,
    OWN,
    WITHDRAWN,
    Entry,
)
from qsynth.protocol.replication import Replication
from qsynth.protocol.service import Service
from qsynth.protocol.withdrawals import Withdrawals
from qsynth.trust import Admission, Admitted
from qsynth.types import NodeId


class Restored(Protocol):
    """What restoring needs of a node."""

    me: NodeId
    size: int
    table: Table
    admission: Admission
    held: dict[NodeId, Admitted]
    replication: Replication
    sequence: int
    own_packet: tuple[OutcomePacket, bytes] | None
    budget: Budget
    withdrawals: Withdrawals
    forgotten: set[NodeId]
    services: Sequence[Service]

    @property
    def membership(self) -> Meeting:
        """Return what tells who may be taken for a node."""

    def wall_s(self) -> float:
        """Return seconds since the epoch."""


def restore(node: Restored, entries: Iterable[Entry]) -> list[str]:
    """Give a new node what it remembers; return the addresses of those it knew.

    Packets are checked as if they came from a peer: what has expired, or is of another task or
    encoder, is left out.  The sequence number is never less than any that was published.
    """
    addresses: dict[NodeId, str] = {}
    for entry in entries:
        if entry.kind == OWN:
            node.sequence = max(node.sequence, entry.sequence)
            _own(node, entry.data)
        elif entry.kind == WITHDRAWN:
            node.withdrawals.restore(entry.data)
        elif entry.kind == FORGOTTEN:
            node.forgotten.add(entry.data)
        elif entry.kind == BUDGET:
            passed_s = node.wall_s() - int.from_bytes(entry.data, "big") / 1000.0
            node.budget.go_on(entry.sequence, passed_s)
        elif entry.kind in (HELD, KEPT) and entry.author is not None:
            _packet(node, entry, entry.author)
        elif entry.kind == DROPPED and entry.author is not None:
            node.held.pop(entry.author.id, None)
        elif (
            entry.kind == CONTACT
            and entry.author is not None
            and node.membership.valid(entry.author)
        ):
            addresses[entry.author.id] = entry.author.address
        for service in node.services:
            service.restore(entry)
    if node.own_packet and node.own_packet[0].sequence <= node.withdrawals.covers(node.me):
        node.own_packet = None  # taken back, whatever the journal says of it
    for service in node.services:
        for author in [*node.withdrawals.known, *node.forgotten]:
            service.forget(author)
    return list(addresses.values())


def entries_of(node: Restored) -> list[Entry]:
    """Return all that a node must remember."""
    made = [Entry(OWN, node.own_packet[1] if node.own_packet else b"", None, node.sequence)]
    kept = node.replication.kept
    for author, entry in kept.items():
        made.append(Entry(HELD if author in node.held else KEPT, entry.data, entry.author))
    made += [entry for service in node.services for entry in service.entries()]
    made += [Entry(CONTACT, b"", contact) for contact in node.table.contacts.values()]
    made += node.withdrawals.entries()
    made += [Entry(FORGOTTEN, author) for author in sorted(node.forgotten)]
    return made + budget_of(node)


def budget_of(node: Restored) -> list[Entry]:
    """Return what is left of the bytes that a node may send, where they are counted."""
    if node.budget.per_hour is None:
        return []
    said = int(1000 * node.wall_s()).to_bytes(8, "big")
    return [Entry(BUDGET, said, None, int(node.budget.left))]


def _own(node: Restored, data: bytes) -> None:
    try:
        packet = decode_packet(data)
    except PacketError:
        return  # before the first packet there is none
    same = packet.task == node.admission.task_digest
    if same and packet.encoder == node.admission.encoder_digest:
        node.own_packet = packet, data
        try:
            # What is announced must fit the number that it is announced under.
            node.table.set_own(node.admission.opened(data, packet.created_s).fingerprint)
        except PacketError:
            node.own_packet = None  # of settings that are no longer


def _packet(node: Restored, entry: Entry, author: Contact) -> None:
    # What was kept for others may have been taken to learn from later: the same packet again.
    before = node.held if entry.kind == HELD else node.replication.kept
    known = before.get(author.id)
    after = max(known.packet.sequence if known else 0, node.withdrawals.covers(author.id))
    if author.id in node.forgotten or not node.membership.valid(author):
        return
    try:
        admitted = node.admission.admit(entry.data, author.id, after, None, 0, node.wall_s())
    except PacketError:
        return
    node.replication.put(entry.data, admitted, author)
    if entry.kind == HELD:
        node.held[author.id] = admitted
