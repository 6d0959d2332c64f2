"""Which peers each option chooses."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.dht import Contact
from qsynth.peers import make_peers
from qsynth.peers.all import AllPeers
from qsynth.peers.dissimilar import Dissimilar
from qsynth.peers.options import OPTIONS
from qsynth.peers.oracle import Oracle
from qsynth.peers.random import RandomPeers
from qsynth.peers.semantic import FIRST_K, LEAST_RISE, REFUSED_LOOKS, Semantic


def contact(number: int, angle: float, version: int = 1) -> Contact:
    vector = np.rint(127 * np.array([np.cos(angle), np.sin(angle)])).astype(np.int8)
    return Contact(bytes([number]) * 32, f"memory:{number}", vector.tobytes(), version, False)


OWN = np.array([127, 0], np.int8)
CONTACTS = [contact(n, angle) for n, angle in enumerate((0.1, 0.8, 1.6, 2.4, 3.1), start=1)]
PRINTS = {c.id: c.vector() for c in CONTACTS}


AUTHORS = [bytes([n]) * 32 for n in range(1, 20)]


def numbers(ids) -> list[int]:
    return [node[0] for node in ids]


def test_semantic_takes_the_most_alike_above_its_floor() -> None:
    peers = make_peers(Semantic(k=3, min_similarity=0.5), 0)
    assert np.array_equal(peers.target(OWN), OWN)
    assert numbers(c.id for c in peers.found(CONTACTS, OWN, 1.0)) == [1, 2]
    assert numbers(peers.authors(PRINTS, OWN, 1.0)) == [1, 2]


def test_all_takes_everybody() -> None:
    peers = make_peers(AllPeers(), 0)
    assert numbers(peers.authors(PRINTS, OWN, 1.0)) == [1, 2, 3, 4, 5]


def test_dissimilar_takes_the_least_alike() -> None:
    peers = make_peers(Dissimilar(k=2), 0)
    assert np.array_equal(peers.target(OWN), -OWN)
    assert numbers(c.id for c in peers.found(CONTACTS, OWN, 1.0)) == [5, 4]
    assert numbers(peers.authors(PRINTS, OWN, 1.0)) == [4, 5]


def test_random_draws_k_and_keeps_them() -> None:
    peers = make_peers(RandomPeers(k=2), 0)
    rng = np.random.default_rng(0)
    for _ in range(20):
        peers.target(OWN)
        peers.found([CONTACTS[i] for i in rng.permutation(5)], OWN, 1.0)
    chosen = peers.authors(PRINTS, OWN, 1.0)
    assert len(chosen) == 2
    assert not peers.hurry
    assert peers.target(OWN) in chosen


def test_wanted_authors_are_looked_up_by_id_and_no_other_is_taken() -> None:
    wanted = [CONTACTS[3].id, CONTACTS[1].id]
    peers = make_peers(Oracle(k=7), 0, wanted)
    assert peers.k == 2
    for _ in range(4):
        assert peers.target(OWN) in wanted
        peers.found(CONTACTS, OWN, 1.0)
    assert numbers(peers.authors(PRINTS, OWN, 1.0)) == [2, 4]


def test_hurry_ends_though_nobody_is_found() -> None:
    peers = make_peers(Oracle(k=1), 0, [b"x" * 32])
    looked = 0
    while peers.hurry:
        peers.target(OWN)
        peers.found(CONTACTS, OWN, 1.0)
        looked += 1
        assert looked < 20
    few = make_peers(RandomPeers(k=200), 0)
    for _ in range(60):
        few.target(OWN)
        few.found(CONTACTS, OWN, 1.0)
    assert len(few.authors(PRINTS, OWN, 1.0)) == 5
    assert not few.hurry


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_nobody_who_has_published_nothing_is_asked(name: str) -> None:
    peers = make_peers(OPTIONS[name](), 0, [CONTACTS[0].id])
    silent = [contact(1, 0.1, version=0)]
    peers.target(OWN)
    assert peers.found(silent, OWN, 1.0) == []


def test_k_auto_grows_while_more_peers_bring_something_and_then_settles() -> None:
    peers = make_peers(Semantic(k="auto", k_most=16), 0)
    assert peers.k == FIRST_K
    peers.learned(
        dict.fromkeys(AUTHORS[:2], 1), AUTHORS[:2], -1.0
    )  # not all that it looks for: nothing to conclude
    assert peers.k == 3
    peers.learned(dict.fromkeys(AUTHORS[:3], 1), AUTHORS[:3], -1.0)
    assert peers.k == 6
    peers.learned(dict.fromkeys(AUTHORS[:6], 1), AUTHORS[:5], -0.9)
    assert peers.k == 12
    peers.learned(dict.fromkeys(AUTHORS[:12], 1), AUTHORS[:10], -0.8)
    assert peers.k == 16
    peers.learned(dict.fromkeys(AUTHORS[:16], 1), AUTHORS[:15], -0.7)
    assert peers.k == 16


def test_k_auto_goes_back_where_more_peers_brought_nothing() -> None:
    peers = make_peers(Semantic(k="auto"), 0)
    peers.learned(dict.fromkeys(AUTHORS[:3], 1), AUTHORS[:3], -1.0)
    peers.learned(dict.fromkeys(AUTHORS[:6], 1), AUTHORS[:6], -1.0 + LEAST_RISE / 2)
    assert peers.k == 3
    peers.learned(dict.fromkeys(AUTHORS[:3], 1), AUTHORS[:3], -0.5)  # settled
    assert peers.k == 3


def test_k_auto_does_not_grow_while_the_gate_refuses() -> None:
    peers = make_peers(Semantic(k="auto"), 0)
    peers.learned(dict.fromkeys(AUTHORS[:3], 1), AUTHORS[:1], -1.0)
    assert peers.k == 3
    assert make_peers(Semantic(k="auto", k_most=2), 0).k == 2


def test_authors_whose_packets_did_not_count_make_room_until_they_publish_anew() -> None:
    """The most alike node is refused: the next one takes its place, for a while."""
    first = contact(1, 0.1, version=5)
    others = [first, *CONTACTS[1:]]
    for replaces, expected in ((True, [2]), (False, [1])):
        peers = make_peers(Semantic(k=1, min_similarity=0.5, replace_refused=replaces), 0)
        assert numbers(c.id for c in peers.found(others, OWN, 1.0)) == [1]
        peers.learned({first.id: 5}, [], -1.0)
        assert peers.reach == 1 + replaces
        assert numbers(c.id for c in peers.found(others, OWN, 1.0)) == expected
        assert numbers(peers.authors(PRINTS, OWN, 1.0)) == expected
        for _ in range(REFUSED_LOOKS):
            peers.found(others, OWN, 1.0)
        assert numbers(c.id for c in peers.found(others, OWN, 1.0)) == [1]


def test_a_newer_packet_than_the_refused_one_is_looked_at() -> None:
    """Also where it had been heard of before the older one was judged."""
    newer = [contact(1, 0.1, version=6), *CONTACTS[1:]]
    peers = make_peers(Semantic(k=1, min_similarity=0.5), 0)
    peers.found(newer, OWN, 1.0)
    peers.learned({newer[0].id: 5}, [], -1.0)
    assert numbers(c.id for c in peers.found(newer, OWN, 1.0)) == [1]
    assert numbers(peers.authors(PRINTS, OWN, 1.0)) == [2]
    peers.arrived(newer[0].id, 6)
    assert numbers(peers.authors(PRINTS, OWN, 1.0)) == [1]


def test_a_fingerprint_that_a_packet_did_not_bear_out_is_passed_over_and_no_other() -> None:
    peers = make_peers(Semantic(k=1, min_similarity=0.5), 0)
    peers.forged(CONTACTS[0])
    assert peers.reach == 2
    assert numbers(c.id for c in peers.found(CONTACTS, OWN, 1.0)) == [2]
    true = contact(1, 0.2)
    assert numbers(c.id for c in peers.found([true, *CONTACTS[1:]], OWN, 1.0)) == [1]
    make_peers(AllPeers(), 0).forged(CONTACTS[0])
