"""Whom a node takes for alive: what others tell of contacts, and who has not answered.

In a fleet with an authority a contact counts only with its proof, so nobody can make one up.
Elsewhere a teller whose contacts do not answer is believed less: an eclipse attack fills lookups
with nodes that are not there (Singh et al. 2006, section 3).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from qsynth.dht import Contact, Table
from qsynth.dht.contact import UNREACHABLE, scheme_of
from qsynth.identity.membership import Membership
from qsynth.node import wire
from qsynth.node.holding import Holding
from qsynth.node.sums import SumTree
from qsynth.node.upkeep import Upkeep
from qsynth.trust import Admission
from qsynth.types import NodeId

MOST_DEAD = 4096  # kept in mind, the newest
MOST_MET = 4096  # likewise: who has spoken, who was told of by whom, whose proof was checked
MOST_FALSE = 6  # told contacts that did not answer, from which on a teller's strangers do not count

What = TypeVar("What")


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
    address: str
    membership: Membership | None

    def wall_s(self) -> float:
        """Return seconds since the epoch."""


class Acquaintances:
    """Take contacts into the table, and keep in mind who is dead and who told of whom.

    lost: told of every node that has not answered.
    """

    def __init__(self, node: Acquainted, lost: Callable[[NodeId], None]) -> None:
        self.node, self._lost = node, lost
        self.new: list[Contact] = []  # who speaks for the first time, in this message
        self._dead: dict[NodeId, int] = {}
        self._met: OrderedDict[NodeId, int] = OrderedDict()  # the newest version that each said
        self._proved: OrderedDict[NodeId, Contact] = OrderedDict()
        self._teller: OrderedDict[NodeId, NodeId] = OrderedDict()  # of news not confirmed yet
        self._false: Counter[NodeId] = Counter()  # by teller

    def gone(self, node: NodeId) -> bool:
        """Return whether a node has not answered when it was last asked."""
        return node in self._dead

    def met(self, node: NodeId) -> bool:
        """Return whether a node has once spoken itself."""
        return node in self._met

    def valid(self, contact: Contact) -> bool:
        """Return whether a contact may be taken: in range and, where it must be, proved."""
        membership = self.node.membership
        # Whoever speaks tcp is not sent to a socket of this machine.
        if not contact.valid(self.node.size, scheme_of(self.node.address)):
            self.node.counts["bad_contact"] += 1
            return False
        if membership is None or self._proved.get(contact.id) == contact:
            return True
        if not contact.proved(membership, self.node.wall_s()):
            self.node.counts["unproved_contact"] += 1
            return False
        _remember(self._proved, contact.id, contact)
        return True

    def heard(self, body: wire.Contacts | wire.Found) -> list[Contact]:
        """Take the contacts that a node has told of, itself the first; return who is not dead."""
        return self.learn([body.contact, *body.contacts])

    def learn(self, contacts: Sequence[Contact]) -> list[Contact]:
        """Take contacts, of which the first has spoken itself; return who is not dead."""
        if not contacts:
            return []
        node, speaker = self.node, contacts[0]
        alive: list[Contact] = []
        most = 1 + 2 * node.table.config.reply_contacts
        for at, told in enumerate(contacts[:most]):
            if told.id == node.me or not node.admission.welcomes(told.id):
                continue
            if not self.valid(told):
                if node.membership is not None:
                    break  # who passes on what is not proved is not read further
                continue
            if at and not self._believed(told, speaker.id):
                continue
            contact = self._as_known(told) if at else told
            sure = at == 0 and self._speaks(contact)
            if contact.address == UNREACHABLE:
                continue  # it speaks, but nobody can ask it yet
            if contact.id not in self._dead:
                alive.append(contact)
                node.table.add(contact, sure)
            else:
                node.upkeep.rumour(contact)
        node.counts["untaken_contact"] += max(0, len(contacts) - most)
        if node.tree is not None:
            node.tree.heard(alive)
        return alive

    def period(self) -> None:
        """Forgive each teller one contact that did not answer."""
        self._false -= Counter(dict.fromkeys(self._false, 1))

    def _speaks(self, contact: Contact) -> bool:
        """Note that a node has spoken itself; return whether that is its newest word."""
        self._dead.pop(contact.id, None)
        said = self._met.get(contact.id, 0)
        _remember(self._met, contact.id, max(said, contact.version))
        newest = contact.version >= said
        known = self.node.table.contacts.get(contact.id)
        teller = self._teller.pop(contact.id, None) if newest else None
        if teller is not None:
            lied = known is not None and known.version > contact.version
            self._false[teller] = max(0, self._false[teller] + (1 if lied else -1))
        if self.node.upkeep.find(contact.id):
            self.new.append(contact)
        return newest

    def _as_known(self, told: Contact) -> Contact:
        """Return a contact that others tell of, as far as they can have news of it."""
        if self.node.membership is None:
            return self.node.table.where_it_said(told)
        known = self.node.table.contacts.get(told.id)  # signed, as what is told
        return told if known is None or told.version > known.version else known

    def _believed(self, told: Contact, teller: NodeId) -> bool:
        """Return whether a teller's word is enough for a contact; note that it was its word."""
        known = self.node.table.contacts.get(told.id)
        if known is not None and told.version <= known.version:
            return True  # it is no news
        if self._false[teller] >= MOST_FALSE:
            self.node.counts["distrusted_teller"] += 1
            return False
        if told.id not in self._teller:
            _remember(self._teller, told.id, teller)
        return True

    def drop(self, node: NodeId) -> None:
        """Note that a node has not answered, or that another answers at its address."""
        contact = self.node.table.contacts.get(node)
        # Others may still tell of it: remember which version is dead, until a newer one speaks.
        self._dead[node] = contact.version if contact else self._dead.get(node, 0)
        while len(self._dead) > MOST_DEAD:
            del self._dead[next(iter(self._dead))]
        teller = self._teller.pop(node, None)
        if teller is not None:
            self._false[teller] += 1
        if contact is not None:
            self.node.upkeep.lose(contact)
        self.node.table.remove(node)
        self.node.holding.lost(node)
        if self.node.tree is not None:
            self.node.tree.dead(node)
        self._lost(node)


def _remember(known: OrderedDict[NodeId, What], node: NodeId, what: What) -> None:
    known[node] = what
    known.move_to_end(node)
    while len(known) > MOST_MET:
        known.popitem(last=False)
