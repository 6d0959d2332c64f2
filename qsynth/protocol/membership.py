"""Whom a node takes for alive: what others tell of contacts, and who has not answered.

In a fleet with an authority a contact counts only with its proof, so nobody can make one up.  Who
speaks for the first time is asked at the address that it gives, and taken in when it answers there.
A teller whose contacts do not answer is believed less: an eclipse attack fills lookups with nodes
that are not there (Singh et al. 2006, section 3).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from qsynth.dht import Contact, Table
from qsynth.dht.contact import UNREACHABLE, scheme_of
from qsynth.identity.vouchers import Vouchers
from qsynth.protocol import messages
from qsynth.protocol.effects import Asker, Effects
from qsynth.protocol.maintenance import Maintenance
from qsynth.protocol.replication import Replication
from qsynth.protocol.service import Service
from qsynth.trust import Admission, Admitted
from qsynth.types import NodeId

MOST_DEAD = 4096  # kept in mind, the newest
MOST_MET = 4096  # likewise: who has spoken, who was told of by whom, whose proof was checked
CALLED_S = 30.0
MOST_CALLED = 32  # strangers who are asked at once whether they are where they say
LEAST_FALSE = 2  # told contacts that did not answer, from which on a teller's word may be doubted
MOST_FLAWS = 4  # contacts of an answer that are out of range or not proved
MOST_TRUE = 4  # that did answer, and speak for it
FORGIVEN_PERIODS = 16  # until one of the false is forgiven

What = TypeVar("What")


class Member(Asker, Protocol):
    """What acquaintances need of a node."""

    size: int
    table: Table
    counts: Counter[str]
    admission: Admission
    maintenance: Maintenance
    replication: Replication
    services: Sequence[Service]
    held: dict[NodeId, Admitted]
    address: str


class Membership:
    """Take contacts into the table, and keep in mind who is dead and who told of whom.

    lost: told of every node that has not answered.
    """

    def __init__(self, node: Member, lost: Callable[[NodeId], None]) -> None:
        self.node, self._lost = node, lost
        self._new: list[Contact] = []  # who speaks for the first time, in this message
        self._strangers: list[Contact] = []  # in this message, to be asked whether they are there
        self._called: dict[NodeId, float] = {}  # when, in seconds since the epoch
        self._dead: dict[NodeId, int] = {}
        # The newest version that each has said; where contacts are signed, the newest stamp.
        self._met: OrderedDict[NodeId, int] = OrderedDict()
        self._proved: OrderedDict[NodeId, Contact] = OrderedDict()
        self._teller: OrderedDict[NodeId, NodeId] = OrderedDict()  # of news not confirmed yet
        self._false: Counter[NodeId] = Counter()  # by teller
        self._true: Counter[NodeId] = Counter()
        self._contradicted: OrderedDict[NodeId, None] = OrderedDict()
        self._period = 0

    def gone(self, node: NodeId) -> bool:
        """Return whether a node has not answered when it was last asked."""
        return node in self._dead

    def met(self, node: NodeId) -> bool:
        """Return whether a node has once spoken itself, from an address where it was found."""
        return node in self._met

    def valid(self, contact: Contact) -> bool:
        """Return whether a contact may be taken: in range and, where it must be, proved."""
        vouchers = self.node.vouchers
        # Whoever speaks tcp is not sent to a socket of this machine.
        if not contact.valid(self.node.size, scheme_of(self.node.address)):
            self.node.counts["bad_contact"] += 1
            return False
        if vouchers is None:
            return True
        now_s, scope = self.node.wall_s(), self.node.admission.task_digest
        if self._proved.get(contact.id) == contact:
            return vouchers.vouches(contact.id, contact.voucher, now_s)
        if not contact.proved(vouchers, scope, now_s):
            self.node.counts["unproved_contact"] += 1
            return False
        _remember(self._proved, contact.id, contact)
        return True

    def heard(self, body: messages.Contacts | messages.Found) -> list[Contact]:
        """Take the contacts that a node has told of, itself the first; return who is not dead."""
        return self.learn([body.contact, *body.contacts])

    def visited(self, contacts: Sequence[Contact]) -> None:
        """Take contacts of which the first has asked something: nobody has asked for it."""
        if not contacts:
            return
        stranger, now_s = contacts[0], self.node.wall_s()
        if stranger.address == UNREACHABLE:
            self.learn(contacts[:1])  # nobody can ask it: of others its word is nothing
        elif stranger.id in self._met and stranger.id not in self._dead:
            self.learn(contacts)
        elif stranger.id == self.node.me or stranger.id in self._called:
            return
        elif self._called_at(now_s) == MOST_CALLED:
            self.node.counts["stranger_later"] += 1  # it will speak again, if it is there
        elif self.valid(stranger):
            self._called[stranger.id] = now_s
            self._strangers.append(stranger)

    def _called_at(self, now_s: float) -> int:
        """Return how many strangers are being asked; who answers with a no is so for a while."""
        if len(self._called) == MOST_CALLED:
            self._called = {n: at for n, at in self._called.items() if now_s - at < CALLED_S}
        return len(self._called)

    def learn(self, contacts: Sequence[Contact]) -> list[Contact]:
        """Take contacts, of which the first has spoken itself; return who is not dead."""
        if not contacts:
            return []
        node, speaker = self.node, contacts[0]
        alive: list[Contact] = []
        flaws = 0
        dht = node.table.config
        most = 1 + 2 * max(dht.reply_contacts, dht.record_replicas)
        for at, told in enumerate(contacts[:most]):
            if told.id == node.me or not node.admission.welcomes(told.id):
                continue
            if not self.valid(told):
                flaws += 1
                if flaws == MOST_FLAWS:
                    break  # each costs a check: who passes on so many is not read further
                continue
            if at and not self._believed(told, speaker.id):
                continue
            contact = self._as_known(told) if at else told
            sure = self._speaks(contact) if at == 0 else node.vouchers is not None
            if contact.address == UNREACHABLE:
                continue  # it speaks, but nobody can ask it yet
            if contact.id not in self._dead:
                alive.append(contact)
                node.table.add(contact, sure)
            else:
                node.maintenance.rumour(contact)
        if len(contacts) > most:
            node.counts["untaken_contact"] += len(contacts) - most
        for service in node.services:
            service.heard(alive)
        return alive

    def follow(self, now: float, effects: Effects) -> None:
        """Give newcomers what they should keep; ask strangers whether they are there."""
        node = self.node
        for contact in self._new:
            for service in node.services:
                service.newcomer(now, contact, effects)
        for contact in self._strangers:
            if not node.ask(
                now, contact, messages.NOTICE, messages.Notice(node.contact()), effects
            ):
                self._called.pop(contact.id, None)
        self._new.clear()
        self._strangers.clear()

    def period(self) -> None:
        """Forgive each teller, now and then, one contact that did not answer."""
        self._period += 1
        if self._period % FORGIVEN_PERIODS == 0:
            self._false -= Counter(dict.fromkeys(self._false, 1))
            self._true -= Counter(dict.fromkeys(self._true, 1))

    def _speaks(self, contact: Contact) -> bool:
        """Note that a node has spoken itself; return whether that is its newest word."""
        self._dead.pop(contact.id, None)
        self._called.pop(contact.id, None)
        order = contact.version if self.node.vouchers is None else contact.stamp
        said = self._met.get(contact.id, 0)
        if contact.address != UNREACHABLE:
            _remember(self._met, contact.id, max(said, order))
        newest = order >= said
        known = self.node.table.contacts.get(contact.id)
        teller = self._teller.pop(contact.id, None) if newest else None
        if teller is not None:
            self._judge(teller, false=self._lied(contact, known))
        if self.node.maintenance.find(contact.id):
            self._new.append(contact)
        return newest

    def _lied(self, contact: Contact, known: Contact | None) -> bool:
        """Return whether others have told of a node what it does not say itself, a first time.

        Where contacts are signed it has said both.  Nor can one node make liars of many.
        """
        if self.node.vouchers is not None or known is None or known.version <= contact.version:
            return False
        first = contact.id not in self._contradicted
        _remember(self._contradicted, contact.id, None)
        return first

    def _as_known(self, told: Contact) -> Contact:
        """Return a contact that others tell of, as far as they can have news of it."""
        if self.node.vouchers is None:
            return self.node.table.where_it_said(told)
        known = self.node.table.contacts.get(told.id)  # signed, as what is told
        return told if known is None or told.stamp > known.stamp else known

    def doubted(self, node: NodeId) -> bool:
        """Return whether a node is known by the word of such alone whose contacts do not answer."""
        teller = self._teller.get(node)
        return teller is not None and self._unbelieved(teller)

    def _unbelieved(self, teller: NodeId) -> bool:
        false = self._false[teller]
        return false >= LEAST_FALSE and false > min(self._true[teller], MOST_TRUE)

    def _judge(self, teller: NodeId, false: bool) -> None:
        """Note what came of a teller's word; once it is doubted, what it has told is forgotten."""
        before = self._unbelieved(teller)
        if false:
            self._false[teller] += 1
        else:
            self._true[teller] = min(self._true[teller] + 1, MOST_TRUE)
        if self._unbelieved(teller) and not before:
            for node in [told for told, by in self._teller.items() if by == teller]:
                if node not in self._met:
                    self.node.table.remove(node)

    def _believed(self, told: Contact, teller: NodeId) -> bool:
        """Return whether a teller's word is enough for a contact; note that it was its word."""
        known = self.node.table.contacts.get(told.id)
        if known is not None and told.version <= known.version and told.stamp <= known.stamp:
            return True  # it is no news
        if self._unbelieved(teller):
            self.node.counts["distrusted_teller"] += 1
            return False
        if told.id not in self._teller or self.doubted(told.id):
            _remember(self._teller, told.id, teller)
        return True

    def renew(self, vouchers: Vouchers, effects: Effects) -> None:
        """Know members by other certificates: who is refused by them is gone, and all it has sent.

        vouchers: of the same node.
        """
        node = self.node
        node.vouchers = vouchers
        said = [kept.author for kept in node.replication.kept.values()]
        said += [*self._proved.values(), *node.table.contacts.values()]  # the newest word counts
        for contact in {contact.id: contact for contact in said}.values():
            if not vouchers.refuses(contact.id, contact.voucher):
                continue
            self.drop(contact.id)
            self._proved.pop(contact.id, None)
            node.held.pop(contact.id, None)
            node.replication.refuse(contact.id)
            for service in node.services:
                service.refuse(contact.id)
            effects.record("revoked", node=contact.id.hex())

    def drop(self, node: NodeId) -> None:
        """Note that a node has not answered, or that another answers at its address."""
        self._called.pop(node, None)
        contact = self.node.table.contacts.get(node)
        # Others may still tell of it: remember which version is dead, until a newer one speaks.
        self._dead[node] = contact.version if contact else self._dead.get(node, 0)
        while len(self._dead) > MOST_DEAD:
            del self._dead[next(iter(self._dead))]
        teller = self._teller.pop(node, None)
        if teller is not None:
            self._judge(teller, false=True)
        if contact is not None:
            self.node.maintenance.lose(contact)
        self.node.table.remove(node)
        self.node.replication.lost(node)
        for service in self.node.services:
            service.lost(node)
        self._lost(node)


def _remember(known: OrderedDict[NodeId, What], node: NodeId, what: What) -> None:
    known[node] = what
    known.move_to_end(node)
    while len(known) > MOST_MET:
        known.popitem(last=False)
