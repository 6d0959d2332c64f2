"""Keep a table alive: exchange contacts, ask who is silent, knock where somebody was lost."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import numpy as np

from qsynth.dht import Contact, Table
from qsynth.dht.config import Rings
from qsynth.dht.table import shared_bits
from qsynth.protocol import messages
from qsynth.protocol.effects import Asker, Effects
from qsynth.types import NodeId

KNOCKS = 2  # at the doors of the lost in one period
MOST_LOST = 256
LONGEST_WAIT = 64  # periods between two knocks at one door
PINGS = (4, 32)  # contacts asked in a period whether they are there: in quiet times, and at most
MANY_LOST = 2  # contacts in a period: ask more of them


class Kept(Asker, Protocol):
    """What maintenance needs of a node."""

    table: Table
    dht: Rings

    def knock(self, now: float, address: str, effects: Effects) -> None:
        """Ask whoever is at an address to let us join."""


class Maintenance:
    """Gossip with one contact a period, find out who is dead, and find the lost again.

    Contacts that have not spoken for longest are asked whether they are there, more of them a
    period while many turn out not to be: the dead are told on until somebody has asked them.
    Who does not answer may be dead, or behind a link that is broken for a while: it is asked
    again, ever less often, and at once when somebody else tells of it.
    """

    def __init__(self, node: Kept, rng: np.random.Generator) -> None:
        self.node, self._rng = node, rng
        self._period = self._losses = 0
        self._pings = PINGS[0]
        self._heard: dict[NodeId, int] = {}  # the period in which a contact last spoke itself
        # Where it was, when to knock next, and the pause after that.
        self._lost: OrderedDict[NodeId, tuple[str, int, int]] = OrderedDict()

    def lose(self, contact: Contact) -> None:
        """Keep in mind where a contact was that has not answered."""
        self._losses += 1
        if contact.id not in self._lost:
            self._lost[contact.id] = (contact.address, self._period + 1, 1)
        while len(self._lost) > MOST_LOST:
            self._lost.popitem(last=False)

    def find(self, node: NodeId) -> bool:
        """Note that a node has spoken; return whether for the first time in a while."""
        self._lost.pop(node, None)
        new = node not in self._heard
        self._heard[node] = self._period
        return new

    def rumour(self, contact: Contact) -> None:
        """Note that others tell of a node that is lost to us: knock soon, where they say."""
        if contact.id in self._lost:
            self._lost[contact.id] = (contact.address, self._period, 1)

    def period(self, now: float, effects: Effects) -> None:
        """Do what is due once a period."""
        self._period += 1
        due = [lost for lost, (_, when, _) in self._lost.items() if when <= self._period]
        for lost in due[:KNOCKS]:
            address, _, pause = self._lost.pop(lost)
            pause = min(2 * pause, LONGEST_WAIT)
            self._lost[lost] = (address, self._period + pause, pause)
            self.node.knock(now, address, effects)
        table = self.node.table
        self._heard = {n: when for n, when in self._heard.items() if n in table.contacts}
        if not table.crowded:
            return  # everyone is known: lookups and notices tell all there is to tell
        self._ping(now, effects)
        others = list(table.contacts.values())
        other = others[int(self._rng.integers(len(others)))]
        shared = shared_bits(self.node.me, other.id) // self.node.dht.digit_bits
        level = int(self._rng.integers(shared + 1))
        body = messages.Gossip(self.node.contact(), level, self.told(other, level))
        self.node.ask(now, other, messages.GOSSIP, body, effects)

    def _ping(self, now: float, effects: Effects) -> None:
        many = self._losses >= MANY_LOST
        self._pings = min(2 * self._pings, PINGS[1]) if many else max(self._pings - 1, PINGS[0])
        self._losses = 0
        known = self.node.table.contacts
        silent = [node for node in known if self._heard.get(node, -1) < self._period - 1]
        silent.sort(key=lambda node: self._heard.get(node, -1))
        for node in silent[: self._pings]:
            self.node.ask(
                now, known[node], messages.NOTICE, messages.Notice(self.node.contact()), effects
            )

    def told(self, to: Contact, level: int) -> list[Contact]:
        """Return whom to tell another of: those most alike to it, of its ring `level`."""
        level = max(0, min(level, 256))
        count = self.node.dht.replies(self.node.table.crowded)
        return self.node.table.alike(to.vector(), count, [to.id], (to.id, level))
