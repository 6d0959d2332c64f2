"""The simulator: its tables, its lookups, and that a real node's are the same."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest

from qsynth.bench import fingerprints
from qsynth.bench.bytes import rpc_bytes
from qsynth.bench.net import Net, forget, learn, pack, pack_all, shared_bits
from qsynth.bench.route import Mesh, measure, nearest_of
from qsynth.bench.search import Wanted, best_of, scratch, search
from qsynth.dht import Contact, Table, exact_limits, lookup_limits
from qsynth.dht.config import Rings
from qsynth.dht.table import shared_bits as bits_of_ids
from qsynth.kernels import inverse_lengths
from qsynth.mesh import MemoryNetwork
from tests.commands import answered
from tests.protocol.test_node import Peer

CONFIG = Rings(strategy="rings")
NODES = 192  # real ones
# Meshes of a thousand nodes, and the kernels that they are made with: compiled the first time.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mesh() -> tuple[Mesh, np.ndarray]:
    made = fingerprints.quantised(fingerprints.clustered(800, 700, seed=3))
    return Mesh(made[:600], CONFIG, 3), made[600:]


@pytest.mark.parametrize(
    ("strategy", "start", "recall"),
    [
        ("rings", "cold", 0.97),
        ("rings", "warm", 0.97),
        ("full_view", "cold", 0.999),
        ("exact", "cold", 1.0),
        ("simhash", "cold", 0.9),
    ],
)
def test_each_strategy_finds_what_it_should(mesh, strategy, start, recall) -> None:
    net, queries = mesh
    row = measure(net, queries, strategy, start, 0.0, "clustered")
    assert row.recall >= recall
    assert row.queries == 200
    assert 1 <= row.rpcs_mean <= (CONFIG.lookup_rpcs if strategy != "simhash" else 500)
    assert row.bytes_mean > row.rpcs_mean * sum(rpc_bytes(64)[:2])


def test_of_equal_fingerprints_any_is_right() -> None:
    same = np.tile(np.arange(1, 17, dtype=np.int8), (400, 1))
    row = measure(Mesh(same[:300], CONFIG, 1), same[300:340], "rings", "cold", 0.0, "same")
    assert row.recall == 1.0


def test_random_walks_find_less_than_rings(mesh) -> None:
    net, queries = mesh
    walk = measure(net, queries, "random_walk", "cold", 0.0, "clustered")
    assert walk.recall < measure(net, queries, "rings", "cold", 0.0, "clustered").recall - 0.2


def test_the_dead_are_asked_in_vain_and_never_found(mesh) -> None:
    net, queries = mesh
    row = measure(net, queries, "rings", "cold", 0.3, "clustered")
    alive = measure(net, queries, "rings", "cold", 0.0, "clustered")
    assert row.recall >= 0.95
    assert row.rpcs_mean > alive.rpcs_mean


def test_tables_are_bounded_and_nobody_is_in_all_of_them(mesh) -> None:
    net, _ = mesh
    assert net.contacts_mean <= 45
    assert net.degree.max() <= 4 * np.median(net.degree)


def test_the_truth_is_that_of_the_obvious_way(mesh) -> None:
    net, queries = mesh
    alive = np.arange(0, 600, 3)
    got = nearest_of(net.prints, alive, queries[:5], np.full(5, 0))
    wide = net.prints.astype(float) / np.linalg.norm(net.prints.astype(float), axis=1)[:, None]
    for query, best in zip(queries[:5], got, strict=True):
        score = wide @ query.astype(float)
        assert best == [r for r in np.argsort(-score) if r % 3 == 0 and r != 0][:10]


def test_who_is_forgotten_is_in_no_place(mesh) -> None:
    net = mesh[0].net
    gone: set[int] = set()
    while count := pack(net, 5):  # others take the places of those who leave
        held = net.packed[5, :count].tolist()
        assert not gone & set(held)
        gone.update(held)
        for other in held:
            forget(net, 5, other)
    others = np.arange(200)
    learn(net, 5, others, 200)
    again = pack(net, 5)
    assert again > 10
    assert len(set(net.packed[5, :again].tolist())) == again
    assert 5 not in net.packed[5, :again]


def test_shared_bits_are_those_of_whole_ids(rng) -> None:
    for _ in range(50):
        one, other = rng.bytes(32), rng.bytes(32)
        other = one[:2] + other[2:] if rng.random() < 0.5 else other
        keys = [np.uint64(int.from_bytes(i[:8], "big")) for i in (one, other)]
        assert shared_bits(*keys) == bits_of_ids(one, other)


class Steady(MemoryNetwork):
    """Every message takes as long as any other: the order of asking is the order of answers."""

    def carry(self, sender, address, payload):
        def deliver(now):
            if address in self._receivers:
                self._receivers[address](now, sender, payload)

        self.at(self.now + self.latency_s, deliver)


class Spied(Peer):
    """A node that notes whom its lookups ask."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.asked: list[bytes] = []
        ask = self.node.ask

        def noted(now, contact, kind, body, effects, context=None):
            if context is not None and context.lookup is not None:
                self.asked.append(contact.id)
            return ask(now, contact, kind, body, effects, context)

        self.node.ask = noted


def as_net(tables: list[Table]) -> tuple[Net, dict[bytes, int]]:
    """The same tables, contact by contact, in the simulator's arrays."""
    row_of = {table.me: row for row, table in enumerate(tables)}
    keys = np.array([int.from_bytes(t.me[:8], "big") for t in tables], np.uint64)
    own = np.stack([t.own for t in tables])
    net = Mesh(own, CONFIG, 1).net._replace(keys=keys)
    for row, table in enumerate(tables):
        held = [row_of[node] for node in table.contacts]
        net.packed[row, : len(held)] = held
        net.packed_sizes[row] = len(held)
    return net, row_of


@pytest.fixture(scope="module")
def real() -> tuple[Steady, list[Spied]]:
    """Real nodes that have joined one another over the memory mesh."""
    network = Steady(0.01, seed=1)
    peers = [Spied(network, i, dht=CONFIG) for i in range(NODES)]
    for i, peer in enumerate(peers):
        peer.join(*peers[:i][-2:])
        peer.period()
        network.run_until(network.now + 1.0)
    for period in range(1, 3):
        for peer in peers:
            peer.period(period=period)
        network.run_until(network.now + 1.0)
    return network, peers


def test_a_simulated_lookup_is_that_of_a_real_node(real) -> None:
    network, peers = real
    tables = [peer.node.table for peer in peers]
    assert all(table.crowded and len(table) < 120 for table in tables)
    agreed = 0
    for asker in (0, 17, 100, NODES - 1):
        for exact in (False, True):
            peer = peers[asker]
            net, row_of = as_net(tables)
            s = scratch(NODES, CONFIG.ef_max, CONFIG.lookup_rpcs)
            node = peer.node
            wanted = peers[asker - 1].node
            peer.asked.clear()
            found = lookup_of(network, peer, wanted, exact)
            target = Wanted(
                wanted.table.own,
                inverse_lengths(wanted.table.own.reshape(1, -1))[0],
                net.keys[row_of[wanted.me]],
                exact,
                0,
            )
            limit = exact_limits(CONFIG) if exact else lookup_limits(CONFIG, 10, node.table.nodes)
            start = starts(node, wanted, exact)
            first = np.array([row_of[c.id] for c in start], np.int64)
            count, _, _ = search(net, target, row_of[node.me], first, limit, 12, s)
            assert [row_of[n] for n in peer.asked] == s.asked[:count].tolist()
            k = 1 if exact else 10
            assert [row_of[c.id] for c in found] == best_of(s, k).tolist()
            agreed += count
    assert agreed > 40


def starts(node, wanted, exact: bool) -> list[Contact]:
    if exact:
        return node.table.nearest(wanted.me, 3)
    return node.table.alike(wanted.table.own, 10)


def lookup_of(network, peer, wanted, exact: bool) -> list[Contact]:
    """Let a real node look up, and return what it found."""
    from qsynth.dht import Lookup
    from qsynth.protocol import messages
    from qsynth.protocol.effects import Effects
    from qsynth.protocol.lookups import Search

    node, found = peer.node, []
    start = starts(node, wanted, exact)
    # Tables stay what they are while the two are compared.
    frozen = {p: p.node.membership.learn for p in nodes_of(network)}
    for p in frozen:
        p.node.membership.learn = lambda contacts: list(contacts)
    if exact:
        lookup, kind = Lookup(wanted.me, 1, node.me, start, exact_limits(CONFIG)), messages.NEAREST
    else:
        limits = lookup_limits(CONFIG, 10, node.table.nodes)
        lookup = Lookup(wanted.table.own, 10, node.me, start, limits)
        kind = messages.SIMILAR
    effects = Effects()
    node.lookups._end = lambda now, result, *rest: found.extend(result.contacts)
    node.lookups._run(network.now, Search(lookup, network.now, kind), effects)
    peer.apply(effects)
    network.run_until(network.now + 5.0)
    del node.lookups._end
    for p, learned in frozen.items():
        p.node.membership.learn = learned
    return found


def nodes_of(network) -> list[Spied]:
    return [receiver.__self__ for receiver in network._receivers.values()]


def test_real_nodes_find_the_most_alike(real) -> None:
    _, peers = real
    rows = np.stack([p.node.table.own for p in peers])
    hits = 0
    for peer in peers:
        lookups = [r for r in peer.records if r["event"] == "lookup"]
        me = peers.index(peer)
        best = nearest_of(rows, np.arange(NODES), rows[me : me + 1], np.array([me]))[0][:2]
        found = [bytes.fromhex(name) for name, _ in lookups[-1]["found"]]
        hits += len({peers[b].node.me for b in best} & set(found))
    assert hits / (2 * NODES) >= 0.95


def test_a_table_guesses_the_size_of_its_mesh(real) -> None:
    guesses = np.array([peer.node.table.nodes for peer in real[1]])
    assert NODES / 2 <= np.median(guesses) <= 2 * NODES


def test_every_node_has_its_contacts_counted(mesh) -> None:
    net = mesh[0].net
    degree = pack_all(net)
    assert degree.sum() == net.packed_sizes.sum()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return answered("bench", "route", *words)


def test_the_verb_prints_a_row_a_line() -> None:
    done = run(
        "--nodes",
        "200,300",
        "--strategy",
        "rings,full_view",
        "--dead",
        "0,0.2",
        "--queries",
        "50",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 8
    names = (
        "nodes data strategy start dead queries recall rpcs_mean rpcs_p95 rounds_mean "
        "contacts_mean bytes_mean in_degree_median in_degree_max busiest_share join_rpcs_mean "
        "seconds"
    )
    assert set(names.split()) <= set(rows[0])
    assert [r["nodes"] for r in rows] == [200] * 4 + [300] * 4


def test_a_file_of_vectors_can_be_routed(tmp_path, rng) -> None:
    np.save(tmp_path / "v.npy", rng.standard_normal((260, 12)).astype(np.float32))
    done = run("--nodes=200", f"--data={tmp_path / 'v.npy'}", "--queries=40", "--json")
    assert json.loads(done.stdout)["recall"] > 0.9
    short = run("--nodes=400", f"--data={tmp_path / 'v.npy'}", "--queries=40")
    assert short.returncode == 2
    assert "n >= 440" in short.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--nodez", "5"], "did you mean --nodes?"),
        (["--data", "clusterd"], "clustered"),
        (["--dead", "2"], "--dead=2"),
        (["--strategy", "ring"], "did you mean rings?"),
        (["--nodes"], "needs a value"),
        (["--nodes", "ten"], "--nodes=ten"),
    ],
)
def test_a_mistake_is_one_line(words, said, capsys) -> None:
    from qsynth.cli.main import main

    assert main(["bench", "route", *words]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
