"""Sums over the memory mesh: everybody hears of the whole group, once, and liars are found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsynth.distill.receipts import AUTHOR_BYTES, leaf_author
from qsynth.identity import Identity
from qsynth.mesh import MemoryNetwork
from qsynth.packet import KIND_SUM, encode_packet, merge, packet_digest
from qsynth.peers.sums import Sums
from qsynth.protocol import messages
from qsynth.similarity import cosine
from qsynth.sums.builder import MADE_A_PERIOD, Held
from qsynth.sums.depth import Depth, common_bits
from qsynth.sums.tree import PATIENCE, SumTree
from tests.protocol.test_node import Peer, mesh, turn

CONFIG = Sums(min_similarity=0.3, audit_share=0.0)


def sums_mesh(count=16, config=CONFIG, piece_bytes=8192, **settings):
    network, peers = mesh(0), []
    network = MemoryNetwork(0.01, seed=1)
    for number in range(count):
        peer = Peer(network, number, peers=config, **settings)
        tree = SumTree(peer.node, config, cosine, 16, 0, piece_bytes, number)
        peer.node.services.append(tree)
        peers.append(peer)
    for number, peer in enumerate(peers):
        peer.join(*peers[:number][-3:])
        peer.period()
        network.run_until(network.now + 0.2)
    return network, peers


def group(peers, number):
    return [p for p in peers if p.number % 2 == number % 2]


def leaves_of(peer):
    return [
        leaf_author(r) for part in peer.node.service(SumTree).parts().values() for r in part.leaves
    ]


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
        assert len(peer.node.service(SumTree).parts()) < len(mates)  # fewer packets than peers
    assert np.mean(heard) > 0.9


def test_before_its_own_fingerprint_a_node_takes_nobody_for_alike() -> None:
    _, peers = sums_mesh(4)
    tree = SumTree(peers[0].node, CONFIG, cosine, 16, 0, 8192, 0)
    peers[0].node.query = np.zeros_like(peers[0].node.query)
    tree.heard([peers[2].node.contact()])
    assert tree.members == {}


def test_a_sum_is_what_its_leaves_give() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    published = {p.node.me[:AUTHOR_BYTES]: p for p in peers}
    largest = max(
        (part for peer in peers for part in peer.node.service(SumTree).parts().values()),
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


def forge(peer, change, **header):
    """Let a peer change the sums that it signs."""
    chain, make = peer.node.service(SumTree).builder, peer.node.service(SumTree).builder._make

    def lying(parts):
        made = make(parts)
        if made.packet.kind != KIND_SUM:
            return made
        payload = change(dict(made.packet.payload))
        support = int(payload["counts"].sum())
        packet = replace(made.packet, payload=payload, support=support, **header)
        data = encode_packet(packet, peer.node.identity)
        part = replace(made.part, digest=packet_digest(data))
        return Held(part, packet, data)

    chain._make = lying


def doubled(payload):
    return payload | {"counts": payload["counts"] * np.uint32(2)}


@pytest.mark.parametrize("how", ["twice the evidence", "for ever", "no such part"])
def test_who_makes_a_false_sum_is_convicted_and_not_asked_again(how) -> None:
    network, peers = sums_mesh(16, replace(CONFIG, audit_share=1.0))
    liar = peers[4]
    if how == "twice the evidence":
        forge(liar, doubled)
    elif how == "for ever":
        forge(liar, dict, ttl_s=2**31)
    else:
        forge(liar, lambda p: p | {"parts": p["parts"] ^ np.uint8(1)})
    turn(network, peers, 12)
    honest = [p for p in group(peers, 4) if p is not liar]
    caught = [p for p in honest if p.node.service(SumTree).forgotten]
    assert caught
    for peer in caught:
        assert liar.node.me[:AUTHOR_BYTES] in peer.node.service(SumTree).forgotten
        assert liar.node.me not in peer.node.service(SumTree).parts()
    convicted = {short for p in honest for short in p.node.service(SumTree).forgotten}
    assert convicted == {liar.node.me[:AUTHOR_BYTES]}


def test_a_forgotten_author_is_in_no_sum() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    peer = peers[0]
    gone = max(
        peer.node.service(SumTree).parts().values(), key=lambda part: len(part.leaves)
    ).leaves[0]
    before = len(leaves_of(peer))
    victim = next(p for p in peers if p.node.me[:AUTHOR_BYTES] == leaf_author(gone))
    peer.node.service(SumTree).forget(victim.node.me)
    assert len(leaves_of(peer)) < before
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
        assert dead.node.me not in peer.node.service(SumTree).members
        assert len(leaves_of(peer)) >= 5


def test_sums_expire_with_their_first_part() -> None:
    network, peers = sums_mesh(8, ttl_s=100.0)
    turn(network, peers, 10)
    peer = peers[0]
    for author, part in peer.node.service(SumTree).parts().items():
        packet = peer.node.held[author].packet
        if part.evidence.receipts:
            assert packet.created_s + packet.ttl_s <= 1_700_000_000.0 + 2 + 100.0
    network.run_until(network.now + 120.0)
    peer.publication = None
    peer.period()
    assert not peer.node.service(SumTree).parts()
    assert not peer.node.held


@pytest.mark.parametrize("bits", [-1, 0, 3, 99, 10**9])
def test_any_question_is_answered(bits) -> None:
    network, peers = sums_mesh(8)
    turn(network, peers, 6)
    tree = peers[0].node.service(SumTree)
    query = messages.SumQuery(peers[1].node.contact(), bits, 1, b"", [b"x"] * 100, 10**6)
    offer = tree.offer(query)
    data = tree.bytes_of(offer.digest)
    assert len(data) == offer.size
    assert tree.downloads.piece(messages.PieceQuery(query.contact, b"?", 0), b"").size == 0
    if offer.size:
        assert (
            tree.downloads.piece(messages.PieceQuery(query.contact, offer.digest, -1), data).size
            == 0
        )
        past = messages.PieceQuery(query.contact, offer.digest, offer.size)
        assert tree.downloads.piece(past, data).size == 0


def test_a_node_without_sums_refuses() -> None:
    network, peers = mesh(3)
    peers[0].node.services.append(SumTree(peers[0].node, CONFIG, cosine, 16, 0, 8192, 0))
    turn(network, peers, 8)
    assert peers[2].node.counts["refused_unknown_kind"] > 0
    assert peers[0].node.service(SumTree).parts() == {}


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


def test_a_part_that_cannot_be_added_is_refused_where_it_comes_in() -> None:
    network, peers = sums_mesh(8)
    liar = peers[2]
    packet, _ = liar.node.own_packet
    payload = dict(packet.payload)
    payload["diagonal_bounds"] = np.array([59.9, 59.9], np.float32)
    hostile = replace(packet, payload=payload)
    liar.node.own_packet = hostile, encode_packet(hostile, liar.node.identity)
    liar.publication = replace(liar.publication, payload=payload)
    turn(network, peers, 10)
    honest = [p for p in group(peers, 2) if p is not liar]
    assert sum(p.node.counts["rejected_range"] for p in honest) > 0
    for peer in honest:
        assert liar.node.me[:AUTHOR_BYTES] not in leaves_of(peer)
        assert leaves_of(peer)


def test_a_packet_in_crumbs_is_given_up() -> None:
    network, peers = sums_mesh(8)
    slow = peers[2].node.service(SumTree).downloads
    slow.piece = lambda query, data: messages.Piece(
        len(data), data[query.offset : query.offset + 1]
    )
    turn(network, peers, 10)
    for peer in group(peers, 2):
        assert not any(state.asking for state in peer.node.service(SumTree)._depths.values())


def test_who_does_not_answer_holds_up_the_others_for_a_while_only() -> None:
    network, peers = sums_mesh(16)
    tree = peers[0].node.service(SumTree)
    deepest = max(common_bits(p.node.me, peers[0].node.me) for p in group(peers, 0)[1:])
    stuck = tree._depths.setdefault(deepest, Depth())
    stuck.asking = True  # an answer that never comes
    stuck.held = None
    turn(network, peers, 3 * PATIENCE + 6)
    assert len(tree.parts()) >= 1


def test_after_a_change_of_its_data_a_node_offers_nothing_of_its_old_group() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    peer = peers[0]
    assert len(leaves_of(peer)) > 3
    peer.publication = peers[1].publication
    peer.period()
    peer.period()
    assert leaves_of(peer) == []
    query = messages.SumQuery(peers[2].node.contact(), 0, 1, b"", [], 0)
    assert peer.node.service(SumTree).offer(query).leaves == 1


def test_a_node_that_has_lost_its_parts_can_fall_back_on_its_packet() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    asker = peers[0]
    state = max(asker.node.service(SumTree)._depths.values(), key=lambda state: len(state.leaves))
    giver = next(p for p in peers if p.node.me == state.author)
    giver.node.service(SumTree)._depths.clear()
    giver.node.service(SumTree).members.clear()
    state.age, state.wait = 10**6, 0
    state.held = None
    state.least = 1
    for _ in range(8):
        asker.period()
        network.run_until(network.now + 1.0)
    assert leaves_of(asker)
    assert asker.node.counts["rejected_replay"] == 0


def test_ever_other_questions_cost_a_bounded_number_of_sums() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    tree = max((p.node.service(SumTree) for p in peers), key=lambda tree: len(tree.parts()))
    held = [part.digest for part in tree.parts().values()]
    authors = [leaf_author(r) for part in tree.parts().values() for r in part.leaves]
    offers = 0
    for number in range(4 * MADE_A_PERIOD):
        without = [a for bit, a in enumerate(authors) if number >> bit & 1]
        query = messages.SumQuery(peers[1].node.contact(), 0, 1, b"", without, 0)
        offers += tree.offer(query).leaves > 1
    assert offers <= MADE_A_PERIOD + 2
    assert all(tree.bytes_of(digest) for digest in held)


def test_what_an_author_withdraws_is_in_no_sum_any_longer() -> None:
    network, peers = sums_mesh(16)
    turn(network, peers, 12)
    author, forgetful = peers[0], peers[2]
    short = author.node.me[:AUTHOR_BYTES]
    assert sum(short in leaves_of(peer) for peer in peers) > 3
    for _ in range(3):
        author.apply(author.node.withdraw(network.now))
        network.run_until(network.now + 2.0)
    turn(network, peers[1:], 10)
    for peer in peers[1:]:
        assert short not in leaves_of(peer)
        for _, held in peer.node.service(SumTree).builder._made.values():
            assert short not in map(leaf_author, held.part.leaves)
    others = [leaves_of(peer) for peer in group(peers, 0)[1:]]
    assert np.mean([len(authors) for authors in others]) > 4  # the rest is summed anew
    assert forgetful.node.withdrawals.covers(author.node.me) >= 0
