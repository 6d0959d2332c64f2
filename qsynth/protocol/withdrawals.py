"""Withdrawal: an author takes its packets back; who holds one obeys, confirms and tells others."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Protocol

import msgspec

from qsynth.dht import Table
from qsynth.identity import Identity, node_id, verify
from qsynth.packet import OutcomePacket
from qsynth.protocol import messages
from qsynth.protocol.effects import Asker, Effects, RequestContext
from qsynth.protocol.journal import OWN, WITHDRAWN, Entry
from qsynth.protocol.replication import Replication
from qsynth.protocol.service import Service
from qsynth.trust import Admission, Admitted
from qsynth.types import NodeId

SEAL = b"qsynth withdraw 1"
MOST = 4096  # withdrawals kept, the newest
TOLD = 64  # contacts told at once
MOST_TO_TELL, TELL_A_PERIOD = 64, 2  # withdrawals of others, passed on


class Withdrawing(Asker, Protocol):
    """What withdrawal needs of a node."""

    identity: Identity
    admission: Admission
    table: Table
    held: dict[NodeId, Admitted]
    replication: Replication
    counts: Counter[str]
    entries: list[Entry]
    sequence: int
    own_packet: tuple[OutcomePacket, bytes] | None
    services: Sequence[Service]


class Withdrawals:
    """Keep what has been withdrawn, and by whom it is confirmed where it was one's own."""

    def __init__(self, node: Withdrawing) -> None:
        self.node = node
        self.known: OrderedDict[NodeId, messages.Withdrawal] = OrderedDict()
        self.confirmed: set[NodeId] = set()  # of one's own newest
        self.asked: set[NodeId] = set()
        self._tell: OrderedDict[NodeId, messages.Withdrawal] = (
            OrderedDict()
        )  # by author, the newest

    def covers(self, author: NodeId) -> int:
        """Return the sequence number up to which an author has withdrawn its packets; -1: none."""
        known = self.known.get(author)
        return -1 if known is None else known.sequence

    def withdraw(self, now: float, effects: Effects) -> None:
        """Take back all that this node has published so far, and tell whoever is known.

        Can be repeated: who has confirmed is not told again.
        """
        node = self.node
        if self.covers(node.me) < node.sequence:
            said = self._said(node.sequence)
            made = messages.Withdrawal(
                node.identity.public_key, node.sequence, node.identity.sign(said)
            )
            self._keep(node.me, made)
            self.asked, self.confirmed = set(), set()
            node.own_packet = None
            node.entries.append(Entry(OWN, b"", None, node.sequence))
        mine = self.known[node.me]
        silent = [c for c in node.table.contacts.values() if c.id not in self.confirmed]
        for contact in silent[:TOLD]:
            self.asked.add(contact.id)
            context = RequestContext(contact, None, withdrawn=mine.sequence)
            body = messages.Withdraw(node.contact(), mine)
            node.ask(now, contact, messages.WITHDRAW, body, effects, context)

    def take(self, body: messages.Withdraw) -> messages.Notice | messages.Refusal:
        """Obey a withdrawal that its author has signed, once; confirm it each time.

        Of an author of whom nothing is known here there is nothing to drop, and nothing is kept:
        keys cost nothing to make.
        """
        made, node = body.withdrawal, self.node
        author = node_id(made.author)
        if author == node.me and made.sequence > node.sequence:
            return messages.Refusal("withdraw: nobody but I knows my numbers")
        if not 0 <= made.sequence < 2**63 or not verify(
            made.author, self._said(made.sequence), made.signature
        ):
            node.counts["withdraw_signature"] += 1
            return messages.Refusal("withdraw: signature")
        known = author in node.held or node.replication.knows(author) or author in self.known
        known |= author in node.table.contacts or author == node.me
        if known and self.covers(author) < made.sequence:
            self._keep(author, made)
            self._tell[author] = made
            while len(self._tell) > MOST_TO_TELL:
                self._tell.popitem(last=False)
        return messages.Notice(node.contact())

    def answered(self, sender: NodeId, refused: bool, sequence: int | None) -> None:
        """Note who has confirmed one's own newest withdrawal; sequence: that was told of."""
        if not refused and sequence is not None and sequence == self.covers(self.node.me):
            self.confirmed.add(sender)

    def period(self, now: float, effects: Effects) -> None:
        """Tell those known of what has been withdrawn: each node does so once, a few a period."""
        for _ in range(min(TELL_A_PERIOD, len(self._tell))):
            author, made = self._tell.popitem(last=False)
            for contact in list(self.node.table.contacts.values())[:TOLD]:
                if contact.id != author:
                    body = messages.Withdraw(self.node.contact(), made)
                    self.node.ask(now, contact, messages.WITHDRAW, body, effects)
            effects.record("withdrawn", author=author.hex(), version=made.sequence)

    def restore(self, data: bytes) -> None:
        """Take a withdrawal that this node has obeyed in an earlier life."""
        made = messages.unpack(data, messages.Withdrawal)
        if made is not None:
            self._keep(node_id(made.author), made, remembered=True)

    def entries(self) -> list[Entry]:
        """Return what must be remembered."""
        return [Entry(WITHDRAWN, msgspec.msgpack.encode(made)) for made in self.known.values()]

    def _said(self, sequence: int) -> bytes:
        return SEAL + self.node.admission.task_digest + sequence.to_bytes(8, "big")

    def _keep(self, author: NodeId, made: messages.Withdrawal, remembered: bool = False) -> None:
        self.known[author] = made
        self.known.move_to_end(author)
        while len(self.known) > MOST:
            oldest = next(known for known in self.known if known != self.node.me)
            del self.known[oldest]
        node = self.node
        for service in node.services:
            service.forget(author)
        held = node.held.get(author)
        if held is not None and held.packet.sequence <= made.sequence:
            del node.held[author]
        node.replication.withdrawn(author, made.sequence)
        if not remembered:
            node.entries.append(Entry(WITHDRAWN, msgspec.msgpack.encode(made)))
