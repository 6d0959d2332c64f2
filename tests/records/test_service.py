"""Store and get over the memory mesh: holders, dead holders, forgeries, republishing."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from qsynth.dht.config import Rings
from qsynth.dht.record import record_key, sign_record
from qsynth.identity import Identity
from qsynth.protocol import messages
from qsynth.records.service import Records
from tests.protocol.test_node import Peer, leave, mesh, turn

CROWDED = Rings(strategy="rings", record_replicas=4)


def begin_store(peer, now, key, value, ttl_s):
    records = peer.node.service(Records)
    return peer.node.serve(now, lambda at, effects: records.store(at, key, value, ttl_s, effects))


def begin_get(peer, now, key, author=b""):
    records = peer.node.service(Records)
    return peer.node.serve(now, lambda at, effects: records.get(at, key, effects, author))


def store(network, peer, key, value, ttl_s=900.0):
    return ended(network, peer, begin_store(peer, network.now, key, value, ttl_s))


def get(network, peer, key):
    return ended(network, peer, begin_get(peer, network.now, key))


def ended(network, peer, begun):
    ticket, effects = begun
    peer.apply(effects)
    network.run_until(network.now + 15.0)
    assert [t for t, _ in peer.done].count(ticket) == 1  # always, and once
    return dict(peer.done)[ticket]


def holders(peers, key):
    return {p.number for p in peers if p.node.service(Records).kept.get(key, p.node.wall_s())}


@pytest.mark.slow
@pytest.mark.parametrize("dht", [Rings(), CROWDED], ids=["everyone known", "rings"])
def test_a_record_is_kept_by_the_nodes_nearest_to_its_key(dht) -> None:
    network, peers = mesh(40, dht=dht)
    turn(network, peers, 4)
    right = 0
    for n in range(8):
        key = record_key(f"name {n}")
        kept = store(network, peers[n], key, b"value")
        nearest = sorted(
            peers, key=lambda p: int.from_bytes(p.node.me, "big") ^ int.from_bytes(key, "big")
        )[: dht.record_replicas]
        right += holders(peers, key) >= {p.number for p in nearest}
        assert kept >= dht.record_replicas
        found = get(network, peers[39 - n], key)
        assert [(r.value, r.author) for r in found] == [
            (b"value", peers[n].node.identity.public_key)
        ]
    assert right == 8


def test_values_of_several_authors_are_merged_and_the_newest_stands() -> None:
    network, peers = mesh(12)
    turn(network, peers)
    key = record_key("shared")
    for peer, value in ((peers[0], b"a"), (peers[1], b"b"), (peers[0], b"c")):
        store(network, peer, key, value)
    assert sorted(r.value for r in get(network, peers[5], key)) == [b"b", b"c"]
    # One holder has missed the newest: two are read.
    stale = next(p for p in peers if p.number in holders(peers, key))
    old = next(r for r in stale.node.service(Records).kept.get(key, 0.0) if r.value == b"c")
    stale.node.service(Records).kept.drop(old)
    for reader in peers:
        assert sorted(r.value for r in get(network, reader, key)) == [b"b", b"c"]


def test_what_is_not_there_is_an_empty_answer() -> None:
    network, peers = mesh(12)
    turn(network, peers)
    assert get(network, peers[0], record_key("nothing")) == []
    alone = Peer(network, 77)
    assert get(network, alone, record_key("nothing")) == []
    assert store(network, alone, record_key("mine"), b"m") == 1
    assert [r.value for r in get(network, alone, record_key("mine"))] == [b"m"]


@pytest.mark.parametrize(
    "dht",
    [
        pytest.param(Rings(), id="everyone known", marks=pytest.mark.slow),
        pytest.param(CROWDED, id="rings"),
    ],
)
def test_a_record_outlives_its_holders_by_being_told_again(dht) -> None:
    # Where everyone is known the dead stay longer in tables: it takes more to be whole.
    count = 18 if dht is CROWDED else 32
    network, peers = mesh(count, dht=replace(dht, record_republish_s=4.0))
    turn(network, peers, 3)
    key = record_key("lasting")
    store(network, peers[0], key, b"v", ttl_s=400.0)
    alive = list(peers)
    for _ in range(3):  # in the end none of the first holders is left
        for number in holders(alive, key):
            dead = next(p for p in alive if p.number == number)
            if len(holders(alive, key)) > 1:
                leave(network, dead)
                alive.remove(dead)
        turn(network, alive, 25)  # the dead are noticed first, 4 s each
        assert len(holders(alive, key)) >= 3
    assert [r.value for r in get(network, alive[-1], key)] == [b"v"]


@pytest.mark.parametrize("dht", [Rings(), CROWDED], ids=["everyone known", "rings"])
def test_a_newcomer_is_handed_what_it_should_keep(dht) -> None:
    network, peers = mesh(12, dht=dht)
    turn(network, peers, 3)
    keys = [record_key(f"name {n}") for n in range(12)]
    for key in keys:
        store(network, peers[0], key, b"v")
    late = Peer(network, 50, dht=dht)
    late.join(peers[3])
    late.period()
    network.run_until(network.now + 2.0)
    for peer in [*peers, late]:  # no more than a period of gossip
        peer.period(period=9)
    network.run_until(network.now + 2.0)
    apart = [
        sorted(
            int.from_bytes(p.node.me, "big") ^ int.from_bytes(key, "big") for p in [*peers, late]
        )
        for key in keys
    ]
    mine = [int.from_bytes(late.node.me, "big") ^ int.from_bytes(key, "big") for key in keys]
    should = [key for key, a, m in zip(keys, apart, mine, strict=True) if m in a[:2]]
    assert should
    for key in should:
        assert late.node.service(Records).kept.get(key, late.node.wall_s())


def test_an_expired_record_is_forgotten_everywhere() -> None:
    network, peers = mesh(8)
    turn(network, peers)
    key = record_key("short")
    store(network, peers[0], key, b"v", ttl_s=16.0)
    assert holders(peers, key)
    turn(network, peers, 4)
    assert get(network, peers[3], key) == []
    assert all(len(p.node.service(Records).kept) == 0 for p in peers)


def test_forgeries_are_refused_and_counted() -> None:
    network, peers = mesh(8)
    turn(network, peers)
    key, victim, liar = record_key("k"), peers[1], peers[0]
    good = sign_record(Identity.seeded("x"), key, b"v", 1, int(1000 * (victim.node.wall_s() + 9)))
    forged = msgspec.structs.replace(good, value=b"w")
    body = messages.StoreRequest(liar.node.contact(), forged)
    sends = liar.node.rpc.request(
        network.now, victim.node.address, messages.STORE, messages.pack(body), None
    )
    for send in sends:
        liar.transport.send(send.address, send.payload)
    network.run_until(network.now + 1.0)
    assert holders(peers, key) == set()
    assert victim.node.counts["refused_record"] == 1
    # A holder that lies to who reads is counted, and the honest ones are heard.
    store(network, peers[2], key, b"true")
    for peer in peers[3:5]:
        peer.node.service(Records).tell = lambda body, p=peer: messages.Found(
            p.node.contact(), [], [forged]
        )
    for reader in (peers[5], peers[6]):
        assert [r.value for r in get(network, reader, key)] == [b"true"]


def test_what_is_out_of_range_is_the_users_error() -> None:
    network, peers = mesh(2)
    good = record_key("k")
    for key, value, ttl_s in (
        (b"k", b"", 9.0),
        (good, bytes(9999), 9.0),
        (good, b"", 0.0),
        (good, b"", 1e9),
    ):
        with pytest.raises(ValueError, match=r"bytes|ttl"):
            begin_store(peers[0], network.now, key, value, ttl_s)


MANY = 72  # three times what is under way at once


def test_many_at_once_wait_their_turn_and_nothing_is_lost() -> None:
    network, peers = mesh(20)
    turn(network, peers, 3)
    keys = [record_key(f"name {n}") for n in range(MANY)]
    begun = [begin_store(peers[1], network.now, key, key[:4], 900.0) for key in keys]
    for _, effects in begun:
        peers[1].apply(effects)
    network.run_until(network.now + 15.0)
    assert all(dict(peers[1].done)[ticket] >= 5 for ticket, _ in begun)
    begun = [begin_get(peers[7], network.now, key) for key in keys]
    for _, effects in begun:
        peers[7].apply(effects)
    network.run_until(network.now + 15.0)
    found = dict(peers[7].done)
    assert [found[ticket][0].value for ticket, _ in begun] == [key[:4] for key in keys]
    alone = Peer(network, 99)
    for key in keys:  # each ends at once, one after the other
        alone.apply(begin_get(alone, network.now, key)[1])
    assert len(alone.done) == MANY


@pytest.mark.slow
def test_ones_own_record_is_read_beside_those_that_fill_the_key() -> None:
    network, peers = mesh(10)
    turn(network, peers, 3)
    key = record_key("wanted by many")
    store(network, peers[0], key, b"mine")
    expires = int(1000 * (peers[0].node.wall_s() + 900))
    for n in range(40):
        other = sign_record(Identity.seeded("many", n), key, bytes(2048), 1, expires)
        for peer in peers:
            peer.node.service(Records).kept.put(other, peer.node.wall_s())
    author = peers[0].node.identity.public_key
    for reader in peers[::3]:
        found = ended(network, reader, begin_get(reader, network.now, key, author))
        assert [r.value for r in found] == [b"mine"]


def test_invented_contacts_are_handed_nothing() -> None:
    network, peers = mesh(10)
    turn(network, peers, 3)
    victim, liar = peers[1], peers[0]
    for n in range(60):
        key = bytes([n]) + victim.node.me[1:]
        expires = int(1000 * (victim.node.wall_s() + 900))
        one = sign_record(Identity.seeded("a", n), key, b"v", 1, expires)
        victim.node.service(Records).kept.put(one, victim.node.wall_s())
    near = [
        msgspec.structs.replace(liar.node.contact(), id=bytes([n]) + victim.node.me[1:])
        for n in range(60)
    ]
    body = messages.Gossip(liar.node.contact(), 0, near)
    for send in liar.node.rpc.request(
        network.now, victim.node.address, messages.GOSSIP, messages.pack(body), None
    ):
        effects = victim.node.message(network.now, liar.node.address, send.payload)
    assert [s.kind for s in effects.sends] == ["gossip_answer"]
