"""What a version promises to the one before it: fields and kinds that it does not know."""

from __future__ import annotations

from typing import Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.mesh.rpc import Envelope
from qsynth.protocol import messages
from tests.benchmarks.fuzz import KINDS
from tests.protocol.test_node import mesh

STRUCTS = sorted(
    {*KINDS, *(x for x in vars(messages).values() if isinstance(x, type(msgspec.Struct)))}
    - {msgspec.Struct},
    key=lambda kind: kind.__name__,
)


PLAIN = {
    int: st.integers(0, 2**32),
    float: st.floats(0.0, 1e9),
    bytes: st.binary(max_size=40),
    str: st.text(max_size=9),
    bool: st.booleans(),
    type(None): st.none(),
}


def drawn(kind: Any) -> st.SearchStrategy:
    """Values of a type that a message may hold."""
    inner = [each for each in get_args(kind) if each is not ...]
    if kind in PLAIN:
        return PLAIN[kind]
    if get_origin(kind) is list:
        return st.lists(drawn(inner[0]), max_size=3)
    if get_origin(kind) is tuple:
        many = st.lists(drawn(inner[0]), max_size=3).map(tuple)
        return many if ... in get_args(kind) else st.tuples(*map(drawn, inner))
    if get_origin(kind) is dict:
        return st.dictionaries(drawn(inner[0]), drawn(inner[1]), max_size=3)
    if inner:
        return st.one_of(*map(drawn, inner))
    return st.builds(kind, **{f.name: drawn(f.type) for f in msgspec.structs.fields(kind)})


@pytest.mark.parametrize("kind", [Envelope, *STRUCTS], ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_a_field_that_a_later_version_adds_is_left_out(kind, data) -> None:
    body = data.draw(drawn(kind))
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(body))
    added = data.draw(st.sampled_from([None, 7, b"bytes", "text", [1, 2], {"a": 1}]))
    later = msgspec.msgpack.encode([*fields, added])
    assert msgspec.msgpack.decode(later, type=kind) == body


def test_a_kind_that_nobody_knows_is_refused_and_the_mesh_goes_on() -> None:
    network, peers = mesh(3)
    asker, asked = peers[0].node, peers[1].node
    contact = asker.table.contacts[asked.me]
    before = len(asked.table.contacts)
    (send,) = asker.rpc.request(network.now, contact.address, "later", b"\xc0", None)
    effects = asked.message(network.now, peers[0].node.address, send.payload)
    assert len(effects.sends) == 1  # an answer that says so
    assert len(asked.table.contacts) == before
    peers[0].period()
    network.run_until(network.now + 5.0)
    assert asked.me in asker.table.contacts


def test_another_protocol_is_counted_and_dropped() -> None:
    network, peers = mesh(2)
    asker, asked = peers[0].node, peers[1].node
    contact = asker.table.contacts[asked.me]
    (send,) = asker.rpc.request(network.now, contact.address, "hello", b"\xc0", None)
    fields = msgspec.msgpack.decode(send.payload)
    later = msgspec.msgpack.encode([fields[0] + 1, *fields[1:]])
    effects = asked.message(network.now, asker.address, later)
    assert not effects.sends
    assert asked.rpc.counts["protocol"] == 1
