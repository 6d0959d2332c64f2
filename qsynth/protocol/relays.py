"""Nodes that can only dial out are reached through a peer that relays: both sides of that.

What a relay carries is signed by its author for its receiver alone, with the time, so that a relay
can lose messages but neither make nor change nor redirect one, nor bring it twice.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from qsynth.dht import Contact, Table
from qsynth.dht.contact import UNREACHABLE, relay_address, relayed
from qsynth.identity import Identity, node_id, verify
from qsynth.mesh import Answer, Carried, Request, Rpc, Send
from qsynth.mesh.pressure import Buckets
from qsynth.mesh.transport import MeshOptions
from qsynth.protocol import messages
from qsynth.protocol.effects import Asker, Effects
from qsynth.trust import Admission
from qsynth.types import NodeId

RENEW_S = 20.0  # shorter than routers forget an idle connection
PROMISED_S = 3.0 * RENEW_S
RETRY_S = 2.0
MOST_TICKETS = 1024
TICKET_BYTES = TIME_BYTES = 8
MOST_SEEN, MOST_OF_AUTHOR = 1024, 64  # authors of what was carried here, and signatures of each
SHARE_OF_RATE = 0.25  # of `mesh.requests_per_s`, that one peer may have carried
SHARE_OF_CLIENT = 0.5  # likewise, carried to one node: more, and it would hang up on its relay
BACK = "back:"  # how an answer to a carried request is addressed, inside a node
SEAL = b"qsynth carried 2"


class Relaying(Asker, Protocol):
    """What relaying needs of a node."""

    identity: Identity
    address: str
    table: Table
    rpc: Rpc
    counts: Counter[str]
    admission: Admission


class Relays:
    """Carry messages for nodes that can only dial out, and be carried for where one is such.

    seed: of tickets, in simulations; None is the system's randomness.
    """

    def __init__(self, node: Relaying, mesh: MeshOptions, seed: int | None) -> None:
        self.node, self.most = node, mesh.relay_most
        self.most_bytes = mesh.max_message_bytes
        self._rng = np.random.default_rng(seed)
        self._secret = seed is None  # tickets that others cannot guess
        self.wanted = node.address == UNREACHABLE
        self._through: NodeId | None = None
        self._again_at = 0.0
        self._refused: set[NodeId] = set()
        self._clients: OrderedDict[NodeId, tuple[str, float]] = OrderedDict()
        self._said: OrderedDict[NodeId, float] = OrderedDict()  # by client, also of one that left
        self._tickets: OrderedDict[bytes, tuple[str, NodeId]] = OrderedDict()
        self._buckets = Buckets(SHARE_OF_RATE * mesh.requests_per_s)
        self._onto = Buckets(SHARE_OF_CLIENT * mesh.requests_per_s)
        self._seen: OrderedDict[NodeId, list[tuple[int, bytes]]] = OrderedDict()

    # -- of a node that can only dial out ----------------------------------------------------

    @property
    def wake_at(self) -> float | None:
        """Return when `timer` has something to do."""
        return self._again_at if self.wanted and len(self.node.table) else None

    def timer(self, now: float, effects: Effects) -> None:
        """Ask to be reached through a peer, or to go on being so."""
        if self.wake_at is None or now < self._again_at:
            return
        self._again_at = now + RETRY_S
        relay = self.node.table.contacts.get(self._through or b"")
        direct = [c for c in self.node.table.contacts.values() if relayed(c.address) is None]
        if relay is None and direct:
            willing = [c for c in direct if c.id not in self._refused]
            if not willing:  # all have refused: times may have changed
                self._refused.clear()
            relay = (willing or direct)[int(self._rng.integers(len(willing or direct)))]
        if relay is not None:
            said = int(1000 * self.node.wall_s()).to_bytes(TIME_BYTES, "big")
            body = messages.Relay(self.node.contact(), self._sealed(relay.id, said))
            self.node.ask(now, relay, messages.RELAY, body, effects)

    def answered(self, now: float, answer: Answer, relay: Contact, effects: Effects) -> None:
        """Take a peer's promise, and tell others where this node is reached now."""
        body = None if answer.refused else messages.unpack(answer.body, messages.Notice)
        if body is None:
            self._refused.add(relay.id)
            self.lost(relay.id)
            return
        self._through, self._again_at = relay.id, now + RENEW_S
        address = relay_address(self.node.me, relay.address)
        if address == self.node.address:
            return
        self.node.address = address
        effects.record("relayed", through=relay.id.hex())
        for contact in list(self.node.table.contacts.values()):
            self.node.ask(
                now, contact, messages.NOTICE, messages.Notice(self.node.contact()), effects
            )

    def lost(self, node: NodeId) -> None:
        """Note that a node has not answered: if it was the relay, look for another."""
        if self.wanted and node == self._through:
            self._through, self._again_at = None, 0.0
            self.node.address = UNREACHABLE

    # -- of a relay ----------------------------------------------------------------------------

    def promise(self, request: Request, body: messages.Relay) -> messages.Notice | messages.Refusal:
        """Agree to carry what is for the asker, over the connection that it has asked over."""
        now_s = self.node.wall_s()
        for client in [c for c, (_, said) in self._clients.items() if said + PROMISED_S < now_s]:
            del self._clients[client]
        client, sealed = request.sender, body.sealed
        if len(sealed.payload) != TIME_BYTES:
            return messages.Refusal("malformed")
        said = int.from_bytes(sealed.payload, "big") / 1000.0
        known = self._clients.get(client)
        if self.wanted or request.address.startswith(BACK):
            return messages.Refusal("relay: none of those that can")
        if known is None and len(self._clients) >= self.most:
            return messages.Refusal("relay: full")
        fresh = said > self._said.get(client, 0.0)
        fresh &= abs(said - now_s) <= self.node.admission.config.max_clock_skew_s
        if not (fresh and node_id(sealed.author) == client and self._holds(sealed)):
            return messages.Refusal("relay: not signed by who asks, or a clock is off")
        self._said[client] = said
        self._said.move_to_end(client)
        while len(self._said) > MOST_TICKETS:
            self._said.popitem(last=False)
        self._clients[client] = request.address, min(said, now_s)
        return messages.Notice(self.node.contact())

    def carried(self, now: float, carried: Carried, effects: Effects) -> Request | Answer | None:
        """Carry a message on, or return what was carried here; None, and a count, where neither."""
        parcel = messages.unpack(carried.body, messages.Parcel)
        if parcel is None:
            self.node.counts["malformed"] += 1
            return None
        if not carried.forward:
            return self._opened(carried, parcel)
        # Without TLS a sender's name costs nothing, a connection does.
        forwarder = carried.sender if self.node.vouchers else carried.address
        if not (self._buckets.take(now, forwarder) and self._onto.take(now, parcel.node)):
            self.node.counts["relay_rate"] += 1
        else:
            effects.sends += self._onwards(carried, parcel)
        return None

    def _onwards(self, carried: Carried, parcel: messages.Parcel) -> list[Send]:
        """Return the message to the receiver, which a ticket or a promise names."""
        if parcel.ticket:
            place, wanted = self._tickets.pop(parcel.ticket, ("", b""))
        else:
            place, said = self._clients.get(parcel.node, ("", 0.0))
            wanted = parcel.node if said + PROMISED_S >= self.node.wall_s() else b""
        if wanted != parcel.node or not self.node.admission.welcomes(carried.sender):
            self.node.counts["relay_unknown"] += 1
            return []
        ticket = b""
        if not parcel.ticket:
            ticket = (secrets.token_bytes if self._secret else self._rng.bytes)(TICKET_BYTES)
            self._tickets[ticket] = carried.address, carried.sender
            if len(self._tickets) > MOST_TICKETS:
                self._forget_a_ticket()
        onward = self.node.rpc.wrap(
            messages.pack(messages.Parcel(parcel.node, ticket, parcel.sealed)), False
        )
        if len(onward) > self.most_bytes:  # the receiver would hang up on its relay
            self.node.counts["relay_size"] += 1
            return []
        self.node.counts["relayed"] += 1
        return [Send(place, onward, "relayed")]

    def _forget_a_ticket(self) -> None:
        """Drop the oldest ticket of who has the most: one that asks much costs others none."""
        most = Counter(place for place, _ in self._tickets.values()).most_common(1)[0][0]
        del self._tickets[next(t for t, (place, _) in self._tickets.items() if place == most)]

    # -- of both ends ----------------------------------------------------------------------------

    def _opened(self, carried: Carried, parcel: messages.Parcel) -> Request | Answer | None:
        sealed = parcel.sealed
        author = node_id(sealed.author)
        if self._late(author, sealed):
            self.node.counts["relay_replay"] += 1
            return None
        if not self._holds(sealed):
            self.node.counts["relay_signature"] += 1
            return None
        self._heard(author, sealed)
        back = f"{BACK}{author.hex()}.{parcel.ticket.hex()}@{carried.address}"
        inner = self.node.rpc.receive(back, sealed.payload, author)
        if isinstance(inner, Request) and carried.sender != self._through:
            self.node.counts["relay_unasked"] += 1  # else a connection would have many names
            return None
        return None if isinstance(inner, Carried) else inner

    def _late(self, author: NodeId, sealed: messages.Sealed) -> bool:
        """Return whether what is carried is old, or was brought before.

        Of each author the newest are kept in mind; what is older than these is late.
        """
        skew = self.node.admission.config.max_clock_skew_s
        known = self._seen.get(author, [])
        before = len(known) == MOST_OF_AUTHOR and sealed.at_ms < known[0][0]
        twice = any(signature == sealed.signature for _, signature in known)
        return before or twice or abs(sealed.at_ms / 1000.0 - self.node.wall_s()) > skew

    def _heard(self, author: NodeId, sealed: messages.Sealed) -> None:
        known = self._seen.setdefault(author, [])
        self._seen.move_to_end(author)
        known.append((sealed.at_ms, sealed.signature))
        known.sort()
        del known[:-MOST_OF_AUTHOR]
        while len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)

    def _holds(self, sealed: messages.Sealed) -> bool:
        """Return whether something is signed by its author, for this node."""
        if not 0 <= sealed.at_ms < 2**63:
            return False
        said = _said(self.node.me, sealed.payload, sealed.at_ms)
        return verify(sealed.author, said, sealed.signature)

    def outgoing(self, sends: Sequence[Send]) -> list[Send]:
        """Return messages as they leave: those for who is behind a relay sealed, to the relay."""
        return [self._leaving(send) for send in sends]

    def _leaving(self, send: Send) -> Send:
        inner = relayed(send.address)
        if inner is not None:
            node, place = inner
            if place == self.node.address and node in self._clients:  # reached through me
                return Send(self._clients[node][0], send.payload, send.kind)
            ticket = b""
        elif send.address.startswith(BACK):
            names, _, place = send.address[len(BACK) :].partition("@")
            name, _, number = names.partition(".")
            node, ticket = bytes.fromhex(name), bytes.fromhex(number)
        else:
            return send
        parcel = messages.Parcel(node, ticket, self._sealed(node, send.payload))
        return Send(place, self.node.rpc.wrap(messages.pack(parcel), True), send.kind)

    def _sealed(self, receiver: NodeId, payload: bytes) -> messages.Sealed:
        return seal(self.node.identity, receiver, payload, int(1000 * self.node.wall_s()))


def seal(identity: Identity, receiver: NodeId, payload: bytes, at_ms: int) -> messages.Sealed:
    """Return a message signed for one receiver, at a time in milliseconds since the epoch."""
    signature = identity.sign(_said(receiver, payload, at_ms))
    return messages.Sealed(identity.public_key, payload, signature, at_ms)


def _said(receiver: NodeId, payload: bytes, at_ms: int) -> bytes:
    return SEAL + receiver + at_ms.to_bytes(8, "big") + payload
