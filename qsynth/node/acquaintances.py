"""Whom a node takes for alive: what others tell of contacts, and who has not answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from qsynth.dht import Contact, Table
from qsynth.dht.contact import UNREACHABLE
from qsynth.node import wire
from qsynth.node.holding import Holding
from qsynth.node.sums import SumTree
from qsynth.node.upkeep import Upkeep
from qsynth.trust import Admission
from qsynth.types import NodeId

MOST_DEAD = 4096  # kept in mind, the newest


class Acquainted(Protocol):
    """What acquaintances need of a node."""

    me: NodeId
    size: int
    table: Table
    counts: Counter[str]
    admission: Admission
    upkeep: Upkeep
    holding: Holding
    tree: SumTree | None


class Acquaintances:
    """Take contacts into the table, and keep in mind who is dead.

    lost: told of every node that has not answered.
    """

    def __init__(self, node: Acquainted, lost: Callable[[NodeId], None]) -> None:
        self.node, self._lost = node, lost
        self.new: list[Contact] = []  # who speaks for the first time, in this message
        self._dead: dict[NodeId, int] = {}

    def gone(self, node: NodeId) -> bool:
        """Return whether a node has not answered when it was last asked."""
        return node in self._dead

    def heard(self, body: wire.Contacts | wire.Found) -> list[Contact]:
        """Take the contacts that a node has told of, itself the first; return who is not dead."""
        return self.learn([body.contact, *body.contacts[: wire.MAX_CONTACTS]])

    def learn(self, contacts: Sequence[Contact]) -> list[Contact]:
        """Take contacts, of which the first has spoken itself; return who is not dead."""
        node = self.node
        kept = [
            node.table.where_it_said(c) if at else c
            for at, c in enumerate(contacts)
            if c.valid(node.size) and c.id != node.me and node.admission.welcomes(c.id)
        ]
        if len(kept) < len(contacts):
            node.counts["bad_contact"] += sum(not c.valid(node.size) for c in contacts)
        alive = []
        for at, contact in enumerate(kept):
            if at == 0 and contact.id == contacts[0].id:
                self._dead.pop(contact.id, None)
                if node.upkeep.find(contact.id):
                    self.new.append(contact)
            if contact.address == UNREACHABLE:
                continue  # it speaks, but nobody can ask it yet
            if contact.id not in self._dead:
                alive.append(contact)
                node.table.add(contact)
            else:
                node.upkeep.rumour(contact)
        if node.tree is not None:
            node.tree.heard(alive)
        return alive

    def drop(self, node: NodeId) -> None:
        """Note that a node has not answered, or that another answers at its address."""
        contact = self.node.table.contacts.get(node)
        # Others may still tell of it: remember which version is dead, until a newer one speaks.
        self._dead[node] = contact.version if contact else self._dead.get(node, 0)
        while len(self._dead) > MOST_DEAD:
            del self._dead[next(iter(self._dead))]
        if contact is not None:
            self.node.upkeep.lose(contact)
        self.node.table.remove(node)
        self.node.holding.lost(node)
        if self.node.tree is not None:
            self.node.tree.dead(node)
        self._lost(node)
