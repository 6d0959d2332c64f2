"""Packets that outlive their authors: kept by who learns from them, and by who is near to them."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from qsynth.dht import Contact, Table
from qsynth.dht.config import Rings
from qsynth.errors import PacketError
from qsynth.packet import OutcomePacket, packet_digest, payload_digest
from qsynth.protocol import messages
from qsynth.protocol.effects import Asker, Effects
from qsynth.protocol.journal import KEPT, Entry
from qsynth.similarity import cosine
from qsynth.trust import Admission, Admitted
from qsynth.types import Fingerprint, NodeId

MOST_KEPT = 64  # packets of others
MOST_OFFERED = 64
MOST_OF_A_CONNECTION = 16  # authors kept; as many as a relay carries
MOST_OF_A_HOLDER = 4  # authors that are gone, in an answer
MOST_TOLD = 4096  # receivers that are known to have one's own packet
PATIENCE_PERIODS = 2  # for peers to fetch a new packet of themselves, before it is pushed


class Holder(Asker, Protocol):
    """What replication needs of a node."""

    table: Table
    dht: Rings
    admission: Admission
    own_packet: tuple[OutcomePacket, bytes] | None
    entries: list[Entry]
    sent: list[dict[str, Any]]
    forgotten: set[NodeId]
    shadow: bool
    counts: Counter[str]

    @property
    def withdrawals(self) -> Covering:
        """Return what authors have taken back."""


class Covering(Protocol):
    """What tells how far an author has taken its packets back."""

    def covers(self, author: NodeId) -> int:
        """Return the last sequence number taken back; -1: none."""


@dataclass(frozen=True)
class Kept:
    """Hold a packet of another: its bytes, its author as it was, and what it says."""

    data: bytes
    author: Contact
    packet: OutcomePacket


class Replication:
    """Keep packets of others, tell of those whose authors are gone, and see to one's own."""

    def __init__(self, node: Holder) -> None:
        self.node = node
        self.kept: OrderedDict[NodeId, Kept] = OrderedDict()
        self._offers: OrderedDict[NodeId, tuple[Contact, Contact]] = OrderedDict()
        self._holders: set[NodeId] = set()  # of one's own newest packet
        self._since = 0
        self._told: OrderedDict[tuple[NodeId, int, str], None] = OrderedDict()
        self._barren: OrderedDict[tuple[NodeId, NodeId], None] = OrderedDict()
        self._storer: dict[NodeId, str] = {}  # by author, over which connection it asked
        self._unmet: OrderedDict[NodeId, NodeId] = OrderedDict()  # by author, who told of it

    def published(self) -> None:
        """Note that one's own packet is new: nobody holds it yet."""
        self._holders, self._since = set(), 0

    def put(self, data: bytes, admitted: Admitted, author: Contact) -> None:
        """Keep the bytes of an admitted packet."""
        if self.node.vouchers is None:  # else it stays as its author has signed it
            author = msgspec.structs.replace(
                author, fingerprint=admitted.fingerprint.tobytes(), version=admitted.packet.sequence
            )
        self.kept[author.id] = Kept(data, author, admitted.packet)
        self.kept.move_to_end(author.id)
        self._offers.pop(author.id, None)
        while len(self.kept) > max(MOST_KEPT, self.node.admission.config.max_authors):
            self.kept.popitem(last=False)

    def fetch(self, author: NodeId, after: int, asker: NodeId) -> bytes:
        """Return a packet newer than a sequence number, empty where there is none."""
        own = self.node.own_packet
        if author == self.node.me:
            if own is None or own[0].sequence <= after or self.node.shadow:
                return b""
            self._holders.add(asker)
            self._tell(asker, "fetched")
            return own[1]
        kept = self.kept.get(author)
        if kept is None or kept.packet.sequence <= after or kept.packet.expired(self.node.wall_s()):
            return b""
        return kept.data

    def _tell(self, receiver: NodeId, how: str) -> None:
        """Record that one's own packet leaves, and to whom."""
        own = self.node.own_packet
        assert own is not None
        if (receiver, own[0].sequence, how) in self._told:
            return  # who asks again gets the same again
        self._told[receiver, own[0].sequence, how] = None
        while len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        self.node.sent.append(
            {
                "event": "sent",
                "to": receiver.hex(),
                "digest": packet_digest(own[1]).hex(),
                "payload": payload_digest(own[0].payload),
                "version": own[0].sequence,
                "bytes": len(own[1]),
                "how": how,
            }
        )

    def orphans(self, wanted: Fingerprint, most: int) -> list[Contact]:
        """Return authors that are gone and whose packets are kept here, the most alike first.

        Such alone as this node knows to have been there: others will take its word for them.
        """
        now_s = self.node.wall_s()
        gone = [
            kept.author
            for author, kept in self.kept.items()
            if self.node.membership.gone(author)
            and not kept.packet.expired(now_s)
            and kept.author.version <= kept.packet.sequence
            and (self.node.vouchers is not None or self.node.membership.met(author))
        ]
        return sorted(gone, key=lambda c: -cosine(wanted, c.vector()))[:most]

    def offered(self, orphans: list[Contact], holder: Contact) -> None:
        """Take what a holder has told: authors that are gone, whose packets it keeps.

        Not oneself: who has been dead for a while is told of its own packet.  Of authors that
        this node has never met one a holder, unless the fleet's authority vouches for them: keys
        cost nothing to make.
        """
        for author in orphans[:MOST_OF_A_HOLDER]:
            if (author.id, holder.id) in self._barren:
                continue
            if author.id == self.node.me or not self.node.membership.valid(author):
                continue
            if not self._credible(author.id, holder.id):
                self.node.counts["unmet_author"] += 1
                continue
            self._offers[author.id] = (author, holder)
            self._offers.move_to_end(author.id)
        while len(self._offers) > MOST_OFFERED:
            self._offers.popitem(last=False)

    def _credible(self, author: NodeId, holder: NodeId) -> bool:
        """Return whether a holder's word is enough for an author; note that it was its word."""
        if self.node.vouchers is not None or self.node.membership.met(author):
            self._unmet.pop(author, None)
            return True
        teller = self._unmet.get(author)
        if teller is None and holder not in self._unmet.values():
            self._unmet[author] = holder
            while len(self._unmet) > MOST_OFFERED:
                self._unmet.popitem(last=False)
            return True
        return teller == holder

    def candidates(self, found: tuple[Contact, ...]) -> list[Contact]:
        """Return the authors of a lookup's answer, and those gone that others keep packets of."""
        alive = {contact.id for contact in found} | set(self.node.table.contacts)
        gone = [author for author, _ in self._offers.values() if author.id not in alive]
        return [*found, *gone]

    def holder(self, author: Contact) -> Contact | None:
        """Return who keeps a packet of an author that is gone; None where it is to be asked."""
        offer = self._offers.get(author.id)
        if offer is None or author.id in self.node.table.contacts:
            return None
        return offer[1]

    def barren(self, author: NodeId) -> None:
        """Note that a holder has not given the packet that it has told of."""
        offer = self._offers.pop(author, None)
        if offer is not None:
            self._barren[author, offer[1].id] = None
            while len(self._barren) > MOST_TOLD:
                self._barren.popitem(last=False)

    def lost(self, node: NodeId) -> None:
        """Note that a node has not answered: it holds nothing."""
        self._holders.discard(node)
        for author in [a for a, (_, holder) in self._offers.items() if holder.id == node]:
            del self._offers[author]

    def period(self, now: float, effects: Effects) -> None:
        """Forget what has expired; push one's own packet where too few have fetched it."""
        for author in [a for a, k in self.kept.items() if k.packet.expired(self.node.wall_s())]:
            del self.kept[author]
            self._unmet.pop(author, None)
        self._verify(now, effects)
        own = self.node.own_packet
        self._since += 1
        missing = self.node.dht.replication - len(self._holders)
        if own is None or missing <= 0 or self._since <= PATIENCE_PERIODS or self.node.shadow:
            return
        contact = self.node.contact()
        for other in self.node.table.alike(contact.vector(), missing, self._holders):
            if self.node.ask(now, other, messages.KEEP, messages.Keep(contact, own[1]), effects):
                self._tell(other.id, "kept")

    def _verify(self, now: float, effects: Effects) -> None:
        """Ask one author a period whether it is still there, where no lookup would ask it."""
        for author in list(self.kept):
            self.kept.move_to_end(author)
            if not self.node.membership.gone(author) and author not in self.node.table.contacts:
                notice = messages.Notice(self.node.contact())
                self.node.ask(now, self.kept[author].author, messages.NOTICE, notice, effects)
                return

    def keep(self, body: messages.Keep, storer: str = "") -> messages.Notice | messages.Refusal:
        """Take a packet that its author asks to be kept; it is checked as any other.

        storer: the connection that it came over, as far as that is known.
        """
        author = body.contact
        if author.id == self.node.me:
            return messages.Refusal("packet: author")
        kept = self.kept.get(author.id)
        if kept is None and self._share(storer) >= MOST_OF_A_CONNECTION:
            return messages.Refusal("packet: share")
        after = max(kept.packet.sequence if kept else 0, self.node.withdrawals.covers(author.id))
        if author.id in self.node.forgotten:
            return messages.Refusal("packet: forgotten")
        if kept is not None and kept.data == body.data:
            return messages.Notice(self.node.contact())
        try:
            admitted = self.node.admission.admit(
                body.data, author.id, after, author.vector(), author.version, self.node.wall_s()
            )
        except PacketError as error:
            return messages.Refusal(f"packet: {error.reason}")
        self.put(body.data, admitted, author)
        self._storer[author.id] = storer
        self.node.entries.append(Entry(KEPT, body.data, author))
        return messages.Notice(self.node.contact())

    def _share(self, storer: str) -> int:
        """Return how many authors are kept here over one connection, authorities apart."""
        if self.node.vouchers is not None:
            return 0  # each has asked for itself, and has a certificate
        self._storer = {author: by for author, by in self._storer.items() if author in self.kept}
        return sum(by == storer for by in self._storer.values())

    def knows(self, author: NodeId) -> bool:
        """Return whether a packet of an author is kept here, or offered by somebody."""
        return author in self.kept or author in self._offers

    def withdrawn(self, author: NodeId, sequence: int) -> None:
        """Drop what an author has taken back."""
        kept = self.kept.get(author)
        if kept is not None and kept.packet.sequence <= sequence:
            del self.kept[author]
        offer = self._offers.get(author)
        if offer is not None and offer[0].version <= sequence:
            del self._offers[author]

    def refuse(self, author: NodeId) -> None:
        """Drop all of an author, whoever offers it."""
        self.kept.pop(author, None)
        self._offers.pop(author, None)

    def kept_by(self, node: NodeId) -> None:
        """Note that a node has taken one's own packet to keep."""
        self._holders.add(node)
