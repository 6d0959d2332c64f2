"""How a node answers its peers: always, with what was asked for or with why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from qsynth.dht import Contact, Table
from qsynth.dht.config import Rings
from qsynth.mesh import Request, Rpc, Send
from qsynth.protocol import messages
from qsynth.protocol.maintenance import Maintenance
from qsynth.protocol.membership import Membership
from qsynth.protocol.relays import Relays
from qsynth.protocol.replication import MOST_OF_A_HOLDER, Replication
from qsynth.protocol.service import Service
from qsynth.protocol.withdrawals import Withdrawals
from qsynth.trust import Admission
from qsynth.types import NodeId

BODIES: dict[str, type] = {
    messages.HELLO: messages.Hello,
    messages.SIMILAR: messages.Search,
    messages.NEAREST: messages.Search,
    messages.FETCH: messages.Fetch,
    messages.NOTICE: messages.Notice,
    messages.GOSSIP: messages.Gossip,
    messages.KEEP: messages.Keep,
    messages.RELAY: messages.Relay,
    messages.WITHDRAW: messages.Withdraw,
}


class Server(Protocol):
    """What answering needs of a node."""

    me: NodeId
    size: int
    table: Table
    dht: Rings
    rpc: Rpc
    counts: Counter[str]
    admission: Admission
    maintenance: Maintenance
    membership: Membership
    replication: Replication
    relays: Relays
    withdrawals: Withdrawals

    services: Sequence[Service]

    def contact(self) -> Contact:
        """Return who the node is now."""


def serve(node: Server, request: Request, within: bool = True) -> tuple[Send, list[Contact]]:
    """Return the answer to a request, and the contacts to learn: the asker's first.

    within: whether the asker has not asked for too much.
    """
    service = next((s for s in node.services if request.kind in s.bodies), None)
    kind = BODIES.get(request.kind) if service is None else service.bodies[request.kind]
    body: Any = messages.unpack(request.body, kind) if kind else None
    if body is None or body.contact.id != request.sender:
        answer: Struct = messages.Refusal("malformed" if kind else "unknown_kind")
    elif request.kind != messages.HELLO and not node.membership.valid(body.contact):
        answer = messages.Refusal("contact: out of range, or not proved")
    else:
        answer = messages.Refusal("busy")
        if within:
            answer = service.answer(request, body) if service else _answer(node, request, body)
    if isinstance(answer, messages.Refusal):
        node.counts[f"refused_{answer.reason.split(':')[0]}"] += 1
        return node.rpc.answer(request, messages.pack(answer), True, known=kind is not None), []
    told = body.contacts if isinstance(body, messages.Gossip) else []
    return node.rpc.answer(request, messages.pack(answer)), [body.contact, *told]


def _answer(node: Server, request: Request, body: Struct) -> Struct:
    if isinstance(body, messages.Hello):
        return _hello(node, body)
    if isinstance(body, messages.Search):
        return _search(node, request, body)
    if isinstance(body, messages.Fetch):
        return messages.Packet(node.replication.fetch(body.author, body.after, request.sender))
    if isinstance(body, messages.Keep):
        return node.replication.keep(body, request.address.rpartition("@")[2])
    if isinstance(body, messages.Gossip):
        return _gossip(node, body)
    if isinstance(body, messages.Relay):
        return node.relays.promise(request, body)
    if isinstance(body, messages.Withdraw):
        return node.withdrawals.take(body)
    return messages.Notice(node.contact())


def _hello(node: Server, body: messages.Hello) -> Struct:
    differing = differing_fields(node.admission.task.field_digests(), body.task)
    if differing:
        return messages.Refusal(f"task: {', '.join(differing)} differ")
    if body.encoder != node.admission.encoder_digest:
        return messages.Refusal("encoder: differs")
    if not node.membership.valid(body.contact):
        return messages.Refusal("contact: out of range, or not proved")
    asker, count = body.contact.id, node.dht.replies(node.table.crowded)
    near = node.table.nearest(asker, count, [asker])
    alike = node.table.alike(body.contact.vector(), count, [asker])
    known = {contact.id: contact for contact in [*alike, *near]}
    return messages.Contacts(node.contact(), list(known.values()))


def _gossip(node: Server, body: messages.Gossip) -> Struct:
    return messages.Contacts(node.contact(), node.maintenance.told(body.contact, body.level))


def _search(node: Server, request: Request, body: messages.Search) -> Struct:
    count = max(0, min(body.count, messages.MAX_CONTACTS))
    exclude = [request.sender]
    if request.kind == messages.NEAREST and len(body.target) == len(node.me):
        return messages.Contacts(node.contact(), node.table.nearest(body.target, count, exclude))
    if request.kind == messages.SIMILAR and len(body.target) == node.size:
        wanted = np.frombuffer(body.target, np.int8)
        prefix = (request.sender, max(0, min(body.level, 256)))
        alike = node.table.alike(wanted, count, exclude, prefix)
        return messages.Contacts(
            node.contact(), alike, node.replication.orphans(wanted, MOST_OF_A_HOLDER)
        )
    return messages.Refusal("malformed")


def differing_fields(mine: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> list[str]:
    """Return the names of the task's fields that two nodes do not share."""
    names = sorted(set(mine) | set(list(theirs)[:64]))
    return [name[:40] for name in names if mine.get(name) != theirs.get(name)]
