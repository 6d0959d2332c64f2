"""Nodes over the memory mesh: join, route, fetch, admit, refuse, forget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsynth.dht import Contact
from qsynth.dht.config import Rings
from qsynth.distill import distil, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.identity import Identity
from qsynth.mesh import MemoryNetwork
from qsynth.mesh.memory import Memory
from qsynth.mesh.pressure import Budget
from qsynth.peers import make_peers
from qsynth.peers.none import NoPeers
from qsynth.peers.random import RandomPeers
from qsynth.peers.semantic import Semantic
from qsynth.pipeline.publication import Publication
from qsynth.protocol import messages
from qsynth.protocol.effects import Effects
from qsynth.protocol.node import Node
from qsynth.records.service import Records
from qsynth.similarity import cosine, fingerprint, fingerprint_size
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.trust import Admission
from qsynth.trust.config import Checks
from qsynth.types import Task

TASK = Task("t", 1, ("a", "b", "c"), "vector", (16,), "", 0.0, 1.0)
GROUP_MEANS = np.random.default_rng(3).standard_normal((2, 3, 16)) * 2


def publication(group: int, seed: int) -> Publication:
    rng = np.random.default_rng([seed, 2])
    y = np.arange(60) % 3
    x = (GROUP_MEANS[group][y] + rng.standard_normal((60, 16))).astype(np.float32)
    payload = distil(Analytic(), 16, x, None, y, 3)
    statistics = read_evidence(payload).features
    own = fingerprint(ClassSketch(), statistics.counts, statistics.sums)
    return Publication(payload, own, 60, own)


class Peer:
    """A node, its place on the memory network, and what it has recorded."""

    def __init__(
        self, network, number, task=TASK, peers=None, encoder=b"e" * 16, ttl_s=100.0, dht=None
    ):
        self.network, self.number = network, number
        self.records: list[dict] = []
        self.done: list[tuple] = []
        admission = Admission(
            Checks(),
            task,
            task.digest(),
            encoder,
            read_evidence,
            lambda counts, sums: fingerprint(ClassSketch(), counts, sums),
        )
        self.node = Node(
            Identity.seeded("peer", number),
            f"memory:{number}",
            fingerprint_size(ClassSketch(), task.classes),
            admission,
            make_peers(peers or Semantic(k=2), number),
            dht or Rings(),
            Memory(),
            ttl_s,
            1_700_000_000.0,
            number,
            rpc_seed=number,
            services=[Records],
        )
        self.publication = publication(number % 2, number)
        self.transport = network.attach(self.node.address, self._received)

    def _received(self, now, sender, payload):
        self.apply(self.node.message(now, sender, payload))

    def apply(self, effects):
        self.records += effects.records
        self.done += effects.done
        for send in effects.sends:
            self.transport.send(send.address, send.payload)
        if self.node.wake_at is not None:
            self.network.at(self.node.wake_at, lambda now: self.apply(self.node.timer(now)))

    def join(self, *others):
        self.apply(self.node.start(self.network.now, [o.node.address for o in others]))

    def period(self, same=1.0, period=0):
        self.apply(self.node.end_period(self.network.now, period, self.publication, same))

    def events(self, kind):
        return [r for r in self.records if r["event"] == kind]


def mesh(count, **settings):
    network = settings.pop("network", None) or MemoryNetwork(0.01, seed=1)
    peers = [Peer(network, i, **settings) for i in range(count)]
    for i, peer in enumerate(peers):
        peer.join(*peers[:i][-2:])
        peer.period()
        network.run_until(network.now + 1.0)
    return network, peers


def turn(network, peers, periods=3):
    for period in range(1, periods + 1):
        for peer in peers:
            peer.period(period=period)
        network.run_until(network.now + 1.0)


def test_nodes_learn_from_the_most_alike_and_only_from_them() -> None:
    network, peers = mesh(8)
    turn(network, peers)
    for peer in peers:
        authors = peer.node.authors()
        assert len(authors) == 2
        numbers = {p.number for p in peers if p.node.me in authors}
        assert all(number % 2 == peer.number % 2 for number in numbers)
        assert all(peer.node.me != author for author in authors)
        held = {
            author: cosine(peer.publication.fingerprint, e.fingerprint)
            for author, e in peer.node.held.items()
        }
        assert min(held[a] for a in authors) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["rings", "full_view"])
def test_every_strategy_finds_the_most_alike(strategy) -> None:
    network, peers = mesh(30, dht=Rings(strategy=strategy, quiet_periods=0))
    turn(network, peers, 6)
    right = 0
    for peer in peers:
        assert not peer.events("reject")
        lookups = peer.events("lookup")
        assert lookups
        assert all(0 < e["rounds"] <= e["rpcs"] for e in lookups[1:])
        found = {bytes.fromhex(i) for i, _ in lookups[-1]["found"]}
        others = [p for p in peers if p is not peer]
        others.sort(key=lambda p: -cosine(peer.publication.fingerprint, p.publication.fingerprint))
        right += len(found & {p.node.me for p in others[:2]})
    assert right == 60


def test_a_packet_is_fetched_once() -> None:
    network, peers = mesh(6)
    turn(network, peers, 6)
    for peer in peers:
        fetched = [r["author"] for r in peer.events("fetch")]
        assert len(fetched) == len(set(fetched))
        assert peer.events("reject") == []
        assert len(peer.events("publish")) == 1


def test_one_can_join_through_any_live_node() -> None:
    network, peers = mesh(5)
    for through in peers:
        newcomer = Peer(network, 100 + through.number)
        newcomer.join(through)
        newcomer.period()
        network.run_until(network.now + 1.0)
        turn(network, [newcomer], 2)
        assert len(newcomer.node.table) >= 5
        assert newcomer.node.authors()


def test_joining_goes_on_until_somebody_is_there() -> None:
    network = MemoryNetwork(0.01)
    late, early = Peer(network, 0), Peer(network, 1)
    early.transport.close()
    late.join(early)
    network.run_until(20.0)
    assert late.node.alone
    assert late.events("unreachable")
    early.transport = network.attach(early.node.address, early._received)
    network.run_until(60.0)
    assert not late.node.alone


def test_another_task_is_refused_and_the_field_is_named() -> None:
    network = MemoryNetwork(0.01)
    one = Peer(network, 0)
    other = Peer(network, 1, task=replace(TASK, labels=("b", "a", "c"), units="cm"))
    other.join(one)
    network.run_until(2.0)
    (refused,) = other.events("refused")  # said once, however often it is tried
    assert refused["reason"] == "task: labels, units differ"
    assert other.node.alone
    assert one.node.alone
    assert one.node.counts["refused_task"] >= 1


def test_another_encoder_is_refused() -> None:
    network = MemoryNetwork(0.01)
    one, other = Peer(network, 0), Peer(network, 1, encoder=b"x" * 16)
    other.join(one)
    network.run_until(2.0)
    assert other.events("refused")[0]["reason"] == "encoder: differs"


def test_the_dead_are_evicted_and_their_packets_stay() -> None:
    network, peers = mesh(6)
    turn(network, peers)
    victim = peers[0]
    learners = [p for p in peers[1:] if victim.node.me in p.node.held]
    assert learners
    victim.transport.close()
    for period in range(10):
        for peer in peers[1:]:
            peer.period(period=period)
        network.run_until(network.now + 5.0)
    for peer in peers[1:]:
        assert victim.node.me not in peer.node.table.contacts
    assert all(victim.node.me in p.node.held for p in learners)


def test_expired_packets_are_forgotten_and_fresh_ones_fetched() -> None:
    network, peers = mesh(4, ttl_s=30.0)
    turn(network, peers, 40)
    for peer in peers:
        assert len(peer.events("publish")) >= 2
        assert all(
            not h.packet.expired(1_700_000_000.0 + network.now)
            for h in peer.node.authors().values()
        )


def test_below_the_floor_nobody_is_learned_from() -> None:
    network, peers = mesh(2)  # of different groups
    turn(network, peers)
    assert all(peer.node.authors() == {} for peer in peers)
    assert all(peer.events("fetch") == [] for peer in peers)
    assert all(len(peer.node.table) == 1 for peer in peers)


def test_random_peers_are_drawn_once() -> None:
    network, peers = mesh(10, peers=RandomPeers(k=3))
    turn(network, peers, 12)
    for peer in peers:
        assert len(peer.node.authors()) == 3
        before = set(peer.node.authors())
        turn(network, [peer], 5)
        assert set(peer.node.authors()) == before
    numbers = [
        p.number % 2 == q.number % 2 for p in peers for q in peers if q.node.me in p.node.authors()
    ]
    assert 0 < np.mean(numbers) < 1


def test_no_peers_means_no_lookups() -> None:
    network, peers = mesh(3, peers=NoPeers())
    turn(network, peers)
    assert all(peer.events("lookup") == [] for peer in peers)


def test_news_of_the_end_reaches_everyone() -> None:
    network, peers = mesh(5)
    turn(network, peers)
    assert not any(peer.node.all_finished for peer in peers)
    for peer in peers:
        peer.apply(peer.node.finish(network.now))
    network.run_until(network.now + 2.0)
    assert all(peer.node.all_finished for peer in peers)


def test_the_store_is_bounded() -> None:
    network = MemoryNetwork(0.01)
    peers = [Peer(network, 2 * i, peers=Semantic(k=4)) for i in range(10)]
    for peer in peers:
        peer.node.admission = replace(peer.node.admission, config=Checks(max_authors=4))
    for i, peer in enumerate(peers):
        peer.join(*peers[:i])
        peer.period()
        network.run_until(network.now + 1.0)
    turn(network, peers, 4)
    assert all(len(peer.node.held) <= 4 for peer in peers)
    assert all(len(peer.node.authors()) == 4 for peer in peers)


@pytest.mark.parametrize("seed", range(30))
def test_rubbish_is_answered_or_counted_and_changes_nothing(seed) -> None:
    import msgspec

    from qsynth.mesh.rpc import Envelope

    network, peers = mesh(3)
    rng = np.random.default_rng(seed)
    node = peers[0].node
    known = set(node.table.contacts)
    kinds = ["hello", "similar", "nearest", "fetch", "notice", "nonsense"]
    for number in range(40):
        body = rng.bytes(int(rng.integers(0, 60)))
        if number % 2:
            body = msgspec.msgpack.encode([[b"x" * 32, "a", b"", 0], b"", int(rng.integers(-9, 9))])
        payload = msgspec.msgpack.encode(
            Envelope(1, int(rng.integers(0, 3)), number, kinds[number % 6], b"x" * 32, body)
        )
        peers[0].apply(node.message(network.now, "memory:nobody", payload))
    assert set(node.table.contacts) == known
    assert sum(node.counts.values()) + sum(node.rpc.counts.values()) > 0


def test_a_search_for_nothing_is_answered() -> None:
    """A count of 0 once read before the start of an array in a compiled kernel."""
    from qsynth.mesh import Request
    from qsynth.protocol import messages
    from qsynth.protocol.handlers import serve

    _, peers = mesh(3)
    me, asker = peers[0].node, peers[1].node
    for kind, target in (
        (messages.NEAREST, asker.me),
        (messages.SIMILAR, asker.table.own.tobytes()),
    ):
        for count in (0, -5, 10_000):
            body = messages.pack(messages.Search(asker.contact(), target, count))
            send, heard = serve(me, Request("memory:1", 1, kind, asker.me, body))
            assert heard == [asker.contact()]
            assert send.payload


class Divided(MemoryNetwork):
    """A network that can be cut in two: even numbers do not reach odd ones."""

    cut = False

    def attach(self, address, receive):
        transport = super().attach(address, receive)
        side, send = int(address.split(":")[1]) % 2, transport.send

        def divided(to, payload):
            if not (self.cut and int(to.split(":")[1]) % 2 != side):
                send(to, payload)

        transport.send = divided
        return transport


def test_two_halves_find_each_other_again() -> None:
    network, peers = mesh(8, network=Divided(0.01, seed=1))
    turn(network, peers, 2)
    network.cut = True
    for _ in range(4):
        for peer in peers:
            # Everyone is asked for news, so that both sides notice.
            for other in list(peer.node.table.contacts.values()):
                effects = Effects()
                peer.node.ask(
                    network.now,
                    other,
                    messages.NOTICE,
                    messages.Notice(peer.node.contact()),
                    effects,
                )
                peer.apply(effects)
        network.run_until(network.now + 60.0)
    assert all(
        {int(c.address.split(":")[1]) % 2 for c in p.node.table.contacts.values()} == {p.number % 2}
        for p in peers
    )
    network.cut = False
    turn(network, peers, 12)
    assert all(len(p.node.table) == 7 for p in peers)


def test_a_crowded_mesh_joins_ring_by_ring_and_gossips() -> None:
    network, peers = mesh(40, dht=Rings(strategy="rings", ring_size=3, near_size=3, bucket_size=1))
    turn(network, peers, 4)
    assert all(p.node.table.crowded for p in peers)
    assert all(3 <= len(p.node.table) < 39 for p in peers)
    hits = 0
    for peer in peers:
        score = {
            o.node.me: cosine(peer.publication.fingerprint, o.publication.fingerprint)
            for o in peers
            if o is not peer
        }
        best = sorted(score, key=lambda n: -score[n])[:2]
        hits += sum(author in best for author in peer.node.authors())
    assert hits >= 0.9 * 2 * len(peers)


def test_the_silent_are_asked_whether_they_are_there_and_the_dead_go() -> None:
    network, peers = mesh(30, dht=Rings(strategy="rings", quiet_periods=99))
    turn(network, peers, 3)
    dead, alive = peers[::3], [p for p in peers if p.number % 3]
    for peer in dead:
        leave(network, peer)
    gone = {p.node.me for p in dead}
    assert sum(len(gone & set(p.node.table.contacts)) for p in alive) > len(alive)
    turn(network, alive, 20)
    assert sum(len(gone & set(p.node.table.contacts)) for p in alive) == 0
    assert all(len(p.node.table) >= 10 for p in alive)


def test_gossip_is_answered_and_learned_from() -> None:
    network, peers = mesh(6)
    turn(network, peers, 1)
    asker, asked = peers[0], peers[5]
    stranger = Peer(network, 77)
    stranger.period()
    told = [stranger.node.contact()]
    effects = Effects()
    body = messages.Gossip(asker.node.contact(), 0, told)
    asker.node.ask(network.now, asked.node.contact(), messages.GOSSIP, body, effects)
    asker.apply(effects)
    network.run_until(network.now + 1.0)
    assert stranger.node.me in asked.node.table.contacts


def leave(network, peer) -> None:
    network.detach(peer.node.address)


def test_a_packet_outlives_its_author_for_who_comes_late() -> None:
    network, peers = mesh(8, ttl_s=9999.0)
    turn(network, peers, 3)
    gone, left = peers[2], [p for p in peers if p.number != 2]
    leave(network, gone)
    for _ in range(3):
        turn(network, left, 1)
        network.run_until(network.now + 30.0)  # who asks the dead waits for it
    late = Peer(network, 12, peers=Semantic(k=5), ttl_s=9999.0)  # of the dead one's group
    late.join(*left[-2:])
    network.run_until(network.now + 1.0)
    late.period()
    network.run_until(network.now + 30.0)
    for _ in range(2):
        turn(network, [*left, late], 1)
        network.run_until(network.now + 30.0)
    assert gone.node.me in late.node.held
    fetched = [r for r in late.events("fetch") if r["author"] == gone.node.me.hex()]
    assert len(fetched) == 1
    turn(network, [*left, late], 3)
    assert len([r for r in late.events("fetch") if r["author"] == gone.node.me.hex()]) == 1


def test_a_packet_that_nobody_fetches_is_pushed_to_who_keeps_it() -> None:
    network, peers = mesh(6, peers=NoPeers())
    turn(network, peers, 5)
    for peer in peers:
        keepers = [p for p in peers if peer.node.me in p.node.replication.kept]
        assert len(keepers) == Rings().replication
        assert peer.node.me not in peer.node.replication.kept


def test_what_is_kept_expires_and_is_checked() -> None:
    network, peers = mesh(4, ttl_s=40.0)
    turn(network, peers, 3)
    kept = [p for p in peers if p.node.replication.kept]
    assert kept
    one, other = peers[0], peers[1]
    other.node.own_packet = None
    body = messages.Keep(one.node.contact(), b"rubbish")
    answer = other.node.replication.keep(body)
    assert isinstance(answer, messages.Refusal)
    assert answer.reason.startswith("packet: ")
    network.run_until(network.now + 60.0)
    for peer in peers:
        peer.node.end_period(network.now, 9, None, 1.0)
        assert peer.node.replication.kept == {}
        assert peer.node.replication.fetch(one.node.me, 0, other.node.me) == b"" or peer is one


def test_a_denied_node_that_answers_holds_no_lookup_up() -> None:
    """Somebody has told of an id at the address of a node that is kept out."""
    network, peers = mesh(4)
    network.run_until(5.0)
    me, denied = peers[0].node, peers[1].node
    config = replace(me.admission.config, deny=(denied.me.hex(),))
    me.admission = replace(me.admission, config=config)
    made_up = Contact(b"\x07" * 32, denied.address, me.table.own.tobytes(), 1)
    for period in range(1, 8):
        me.membership.learn([made_up, made_up])
        peers[0].period(period=period)
        network.run_until(network.now + 20.0)
        assert not me.lookups._under_way
    assert me.counts["unwelcome"] + me.counts["impostor"] > 0
    assert denied.me not in me.authors()


def test_a_spent_budget_makes_no_peer_dead() -> None:
    network, peers = mesh(4)
    network.run_until(5.0)
    me = peers[0].node
    known = set(me.table.contacts)
    me.budget = Budget(65536)
    me.budget.left = 0.0
    for period in range(1, 4):
        peers[0].period(period=period)
        network.run_until(network.now + 10.0)
    assert me.counts["over_budget"] > 0
    assert set(me.table.contacts) >= known
