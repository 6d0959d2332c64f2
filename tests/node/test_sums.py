"""Sums over the memory mesh: everybody hears of the whole group, once, and liars are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsynth.distill.receipts import AUTHOR_BYTES, leaf_author
from qsynth.identity import Identity
from qsynth.mesh import MemoryNetwork
from qsynth.node import wire
from qsynth.node.sums import SumTree, common_bits
from qsynth.packet import KIND_SUM, decode_packet, encode_packet, merge
from qsynth.peers.config import Sums
from qsynth.similarity import cosine
from tests.node.test_node import Peer, mesh, turn

CONFIG = Sums(min_similarity=0.3, audit_share=0.0)


def sums_mesh(count=16, config=CONFIG, piece_bytes=8192, **settings):
    network, peers = mesh(0), []
    network = MemoryNetwork(0.01, seed=1)
    for number in range(count):
        peer = Peer(network, number, peers=config, **settings)
        tree = SumTree(peer.node, config, cosine, 16, 0, piece_bytes, number)
        peer.node.tree = tree
        peers.append(peer)
    for number, peer in enumerate(peers):
        peer.join(*peers[:number][-3:])
        peer.period()
        network.run_until(network.now + 0.2)
    return network, peers


def group(peers, number):
    return [p for p in peers if p.number % 2 == number % 2]


def leaves_of(peer):
    return [leaf_author(r) for part in peer.node.tree.parts().values() for r in part.leaves]


def test_everybody_hears_of_the_whole_group_and_of_nobody_twice() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    heard = []
    for peer in peers:
        authors = leaves_of(peer)
        mates = {p.node.me[:AUTHOR_BYTES] for p in group(peers, peer.number) if p is not peer}
        assert len(set(authors)) == len(authors)
        assert set(authors) <= mates
        heard.append(len(authors) / len(mates))
        assert peer.events("reject") == []
        assert len(peer.node.tree.parts()) < len(mates)  # fewer packets than peers
    assert np.mean(heard) > 0.9


def test_a_sum_is_what_its_leaves_give() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    published = {p.node.me[:AUTHOR_BYTES]: p for p in peers}
    largest = max(
        (part for peer in peers for part in peer.node.tree.parts().values()),
        key=lambda part: len(part.leaves),
    )
    assert len(largest.leaves) >= 3
    own = [published[leaf_author(receipt)].node for receipt in largest.leaves]
    twin = merge([n.admission.read(n.own_packet[0].payload).features for n in own])
    got = largest.evidence.features
    np.testing.assert_array_equal(got.counts, twin.counts)
    np.testing.assert_allclose(got.means(), twin.means(), atol=0.02 * np.abs(twin.means()).max())
    error = np.linalg.norm(got.scatter - twin.scatter) / np.linalg.norm(twin.scatter)
    assert error <= largest.loss + 0.02


def test_sums_come_in_pieces_where_they_are_larger_than_a_message() -> None:
    network, peers = sums_mesh(8, piece_bytes=512)
    turn(network, peers, 10)
    for peer in peers:
        assert leaves_of(peer)
        assert peer.events("reject") == []


def test_honest_sums_pass_every_audit() -> None:
    network, peers = sums_mesh(16, replace(CONFIG, audit_share=1.0))
    turn(network, peers, 12)
    counts = sum((p.node.counts for p in peers), peers[0].node.counts - peers[0].node.counts)
    assert counts["audited_sums"] > 10
    assert counts["bad_sum"] == counts["unaudited_sum"] == counts["audit_not_sent"] == 0
    assert np.mean([len(leaves_of(p)) for p in peers]) > 6


def forge(peer):
    """Let a peer claim twice the evidence that it has been given."""
    tree, make = peer.node.tree, peer.node.tree._make

    def lying(parts):
        made, size = make(parts)
        packet = decode_packet(tree.store.get(made.digest))
        if packet.kind != KIND_SUM:
            return made, size
        payload = dict(packet.payload)
        payload["counts"] = payload["counts"] * np.uint32(2)
        support = int(payload["counts"].sum())
        forged = encode_packet(
            replace(packet, payload=payload, support=support), peer.node.identity
        )
        return replace(made, digest=tree.store.put(forged)), len(forged)

    tree._make = lying


def test_who_makes_a_false_sum_is_convicted_and_not_asked_again() -> None:
    network, peers = sums_mesh(16, replace(CONFIG, audit_share=1.0))
    liar = peers[4]
    forge(liar)
    turn(network, peers, 12)
    honest = [p for p in group(peers, 4) if p is not liar]
    caught = [p for p in honest if p.node.counts["bad_sum"]]
    assert caught
    for peer in caught:
        assert liar.node.me[:AUTHOR_BYTES] in peer.node.tree.forgotten
        assert liar.node.me not in peer.node.tree.parts()
    convicted = {short for p in honest for short in p.node.tree.forgotten}
    assert convicted == {liar.node.me[:AUTHOR_BYTES]}


def test_a_forgotten_author_is_in_no_sum_and_what_went_with_it_is_said() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    peer = peers[0]
    gone = max(peer.node.tree.parts().values(), key=lambda part: len(part.leaves)).leaves[0]
    before = len(leaves_of(peer))
    victim = next(p for p in peers if p.node.me[:AUTHOR_BYTES] == leaf_author(gone))
    lost = peer.node.tree.forget(victim.node.me)
    assert lost == before - len(leaves_of(peer)) - 1 > 0
    assert leaf_author(gone) not in leaves_of(peer)
    turn(network, peers, 12)
    assert leaf_author(gone) not in leaves_of(peer)
    assert len(leaves_of(peer)) >= before - 3  # the others' evidence is back, summed without


def test_a_peer_that_dies_takes_nothing_with_it() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    dead = peers[2]
    dead.transport.close()
    rest = [p for p in peers if p is not dead]
    turn(network, rest, 30)
    for peer in group(rest, 2):
        assert dead.node.me not in peer.node.tree.members
        assert len(leaves_of(peer)) >= 5


def test_sums_expire_with_their_first_part() -> None:
    network, peers = sums_mesh(8, ttl_s=100.0)
    turn(network, peers, 10)
    peer = peers[0]
    for author, part in peer.node.tree.parts().items():
        packet = peer.node.held[author].packet
        if part.evidence.receipts:
            assert packet.created_s + packet.ttl_s <= 1_700_000_000.0 + 2 + 100.0
    network.run_until(network.now + 120.0)
    peer.outcome = None
    peer.period()
    assert not peer.node.tree.parts()
    assert not peer.node.held


@pytest.mark.parametrize("bits", [-1, 0, 3, 99, 10**9])
def test_any_question_is_answered(bits) -> None:
    network, peers = sums_mesh(8)
    turn(network, peers, 6)
    tree = peers[0].node.tree
    query = wire.SumQuery(peers[1].node.contact(), bits, 1, b"", [b"x"] * 100, 10**6)
    offer = tree.offer(query)
    assert offer.size == 0 or tree.store.get(offer.digest)
    assert tree.downloads.piece(wire.PieceQuery(query.contact, b"?", 0)).size == 0
    if offer.size:
        assert tree.downloads.piece(wire.PieceQuery(query.contact, offer.digest, -1)).size == 0
        past = wire.PieceQuery(query.contact, offer.digest, offer.size)
        assert tree.downloads.piece(past).size == 0


def test_a_node_without_sums_refuses() -> None:
    network, peers = mesh(3)
    peers[0].node.tree = SumTree(peers[0].node, CONFIG, cosine, 16, 0, 8192, 0)
    turn(network, peers, 8)
    assert peers[2].node.counts["refused_no_sums"] > 0
    assert peers[0].node.tree.parts() == {}


def test_common_bits_against_a_slow_twin(rng) -> None:
    for _ in range(200):
        one, other = rng.bytes(4), rng.bytes(4)
        if rng.random() < 0.5:
            other = one[:2] + other[2:]
        texts = ["".join(f"{b:08b}" for b in x) for x in (one, other)]
        slow = next((i for i, (a, b) in enumerate(zip(*texts, strict=True)) if a != b), 32)
        assert common_bits(one, other) == slow


def test_identities_are_spread_so_that_depths_are_few() -> None:
    ids = [Identity.seeded("peer", n).id for n in range(64)]
    depths = [max(common_bits(a, b) for b in ids if b is not a) for a in ids]
    assert max(depths) < 16
