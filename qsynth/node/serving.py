"""How a node answers its peers: always, with what was asked for or with why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from qsynth.dht import Contact, Table
from qsynth.dht.config import Rings
from qsynth.mesh import Request, Rpc, Send
from qsynth.node import wire
from qsynth.node.acquaintances import Acquaintances
from qsynth.node.holding import MOST_OF_A_HOLDER, Holding
from qsynth.node.records import Records
from qsynth.node.relays import Relays
from qsynth.node.sums import SumTree, serve_sums
from qsynth.node.upkeep import Upkeep
from qsynth.node.withdrawals import Withdrawals
from qsynth.trust import Admission
from qsynth.types import NodeId

BODIES: dict[str, type] = {
    wire.HELLO: wire.Hello,
    wire.SIMILAR: wire.Search,
    wire.NEAREST: wire.Search,
    wire.WALK: wire.Search,
    wire.FETCH: wire.Fetch,
    wire.NOTICE: wire.Notice,
    wire.GOSSIP: wire.Gossip,
    wire.KEEP: wire.Keep,
    wire.STORE: wire.Store,
    wire.FIND: wire.Find,
    wire.SUM: wire.SumQuery,
    wire.PIECE: wire.PieceQuery,
    wire.RELAY: wire.Relay,
    wire.WITHDRAW: wire.Withdraw,
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
    tree: SumTree | None
    upkeep: Upkeep
    others: Acquaintances
    holding: Holding
    records: Records
    relays: Relays
    withdrawals: Withdrawals

    def contact(self) -> Contact:
        """Return who the node is now."""


def serve(node: Server, request: Request, within: bool = True) -> tuple[Send, list[Contact]]:
    """Return the answer to a request, and the contacts to learn: the asker's first.

    within: whether the asker has not asked for too much.
    """
    kind = BODIES.get(request.kind)
    body: Any = wire.unpack(request.body, kind) if kind else None
    if body is None or body.contact.id != request.sender:
        answer: Any = wire.Refusal("malformed" if kind else "unknown_kind")
    elif request.kind != wire.HELLO and not node.others.valid(body.contact):
        answer = wire.Refusal("contact: out of range, or not proved")
    else:
        answer = _answer(node, request, body) if within else wire.Refusal("busy")
    if isinstance(answer, wire.Refusal):
        node.counts[f"refused_{answer.reason.split(':')[0]}"] += 1
        return node.rpc.answer(request, wire.pack(answer), True, known=kind is not None), []
    told = body.contacts if isinstance(body, wire.Gossip) else []
    return node.rpc.answer(request, wire.pack(answer)), [body.contact, *told]


def _answer(node: Server, request: Request, body: Any) -> Any:
    if isinstance(body, wire.Hello):
        return _hello(node, body)
    if isinstance(body, wire.Search):
        return _search(node, request, body)
    if isinstance(body, wire.Fetch):
        return wire.Packet(node.holding.fetch(body.author, body.after, request.sender))
    if isinstance(body, wire.Keep):
        return node.holding.keep(body, request.address.rpartition("@")[2])
    if isinstance(body, wire.Gossip):
        return _gossip(node, body)
    if isinstance(body, wire.Store):
        return node.records.keep(body, request)
    if isinstance(body, wire.Find):
        return node.records.tell(body)
    if isinstance(body, wire.Relay):
        return node.relays.promise(request, body)
    if isinstance(body, wire.Withdraw):
        return node.withdrawals.take(body)
    if isinstance(body, wire.Notice):
        return wire.Notice(node.contact())
    return serve_sums(node.tree, body) if node.tree else wire.Refusal("no_sums")


def _hello(node: Server, body: wire.Hello) -> Any:
    differing = differing_fields(node.admission.task.field_digests(), body.task)
    if differing:
        return wire.Refusal(f"task: {', '.join(differing)} differ")
    if body.encoder != node.admission.encoder_digest:
        return wire.Refusal("encoder: differs")
    if not node.others.valid(body.contact):
        return wire.Refusal("contact: out of range, or not proved")
    asker, count = body.contact.id, node.dht.replies(node.table.crowded)
    near = node.table.nearest(asker, count, [asker])
    alike = node.table.alike(body.contact.vector(), count, [asker])
    known = {contact.id: contact for contact in [*alike, *near]}
    return wire.Contacts(node.contact(), list(known.values()))


def _gossip(node: Server, body: wire.Gossip) -> Any:
    return wire.Contacts(node.contact(), node.upkeep.told(body.contact, body.level))


def _search(node: Server, request: Request, body: wire.Search) -> Any:
    count = max(0, min(body.count, wire.MAX_CONTACTS))
    exclude = [request.sender]
    if request.kind == wire.NEAREST and len(body.target) == len(node.me):
        return wire.Contacts(node.contact(), node.table.nearest(body.target, count, exclude))
    if request.kind == wire.SIMILAR and len(body.target) == node.size:
        wanted = np.frombuffer(body.target, np.int8)
        prefix = (request.sender, max(0, min(body.level, 256)))
        alike = node.table.alike(wanted, count, exclude, prefix)
        return wire.Contacts(node.contact(), alike, node.holding.orphans(wanted, MOST_OF_A_HOLDER))
    if request.kind == wire.WALK and len(body.target) == node.size:
        others = [c for c in node.table.contacts.values() if c.id != request.sender]
        drawn = [others[body.level % len(others)]] if others else []
        alike = node.table.alike(np.frombuffer(body.target, np.int8), count, exclude)
        return wire.Contacts(node.contact(), [*drawn, *alike][: wire.MAX_CONTACTS])
    return wire.Refusal("malformed")


def differing_fields(mine: Mapping[str, bytes], theirs: Mapping[str, bytes]) -> list[str]:
    """Return the names of the task's fields that two nodes do not share."""
    names = sorted(set(mine) | set(list(theirs)[:64]))
    return [name[:40] for name in names if mine.get(name) != theirs.get(name)]
