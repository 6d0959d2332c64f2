"""Empirical Bayes over sites: its twin, what it is for, and what a forged site cannot do to it."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.packet import Statistics, class_statistics
from qsynth.synthesis import random_effects
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.head import UNSEEN
from qsynth.synthesis.hierarchical import Hierarchical
from qsynth.synthesis.own_evidence import OwnEvidence

CLASSES, D = 4, 20
FLEET = np.random.default_rng(7).standard_normal((CLASSES, D)) * 0.5


def site(seed: int, n: int, apart: float):
    """Samples of a site whose class means lie around the fleet's, and many more to be judged by."""
    rng = np.random.default_rng([seed, 1])
    spread = np.where(np.arange(D) < D // 2, apart, 0.0)  # sites differ in half of the directions
    means = FLEET + spread * rng.standard_normal((CLASSES, D))

    def drawn(count: int):
        y = np.arange(count) % CLASSES
        return (means[y] + rng.standard_normal((count, D))).astype(np.float32), y

    return drawn(n), drawn(2000)


def own(seed: int, n: int, apart: float):
    (x, y), tests = site(seed, n, apart)
    return OwnEvidence.from_samples(x, y, CLASSES, seed), tests


def peers(seeds, apart: float, n: int = 60) -> dict[bytes, Statistics]:
    return {bytes([s]): class_statistics(*site(s, n, apart)[0], CLASSES) for s in seeds}


def accuracy(made, tests) -> float:
    x, y = tests
    return float((made.head.scores(x).argmax(axis=1) == y).mean())


def slow_fleet(sites, support, trust):
    """One element after the other: the fleet's means, tau^2, and the variance of those means."""
    count, classes, d = sites.shape
    told = support > random_effects.LEAST_COUNT
    fleet, unsure, tau2 = np.zeros((classes, d)), np.zeros((classes, d)), np.ones(d)
    for _ in range(random_effects.ROUNDS):
        degrees = 0.0
        for c in range(classes):
            weight = sum(trust[k] for k in range(count) if told[k, c])
            degrees += weight - min(weight, 1.0)
            for i in range(d):
                parts = [
                    (trust[k] / (tau2[i] + 1.0 / support[k, c]), sites[k, c, i])
                    for k in range(count)
                    if told[k, c]
                ]
                total = sum(p for p, _ in parts)
                fleet[c, i] = sum(p * m for p, m in parts) / total
                unsure[c, i] = 1.0 / total
        sayers = [sum(trust[k] for k in range(count) if told[k, c]) for c in range(classes)]
        sampled = 0.0
        for c in range(classes):
            noise = sum(trust[k] / support[k, c] for k in range(count) if told[k, c])
            sampled += max(sayers[c] - 1.0, 0.0) * noise / sayers[c]
        for i in range(d):
            squares = sum(
                trust[k] * (sites[k, c, i] - fleet[c, i]) ** 2
                for k in range(count)
                for c in range(classes)
                if told[k, c]
            )
            tau2[i] = max((squares - sampled) / max(degrees, 1.0), random_effects.LEAST_TAU2)
    return fleet, tau2, unsure


def test_the_moments_are_those_of_a_slow_twin(rng) -> None:
    sites = rng.standard_normal((6, CLASSES, 3))
    support = rng.integers(1, 40, (6, CLASSES)).astype(float)
    support[2, 1] = 0.0  # one says nothing of a class
    mine, counts = rng.standard_normal((CLASSES, 3)), np.array([9.0, 9.0, 9.0, 0.0])
    trust = rng.uniform(0.2, 1.0, 6)
    shares = trust[:, None] * (support > random_effects.LEAST_COUNT)
    got = random_effects._fleet(sites, support, shares, mine, counts)
    for one, other in zip(got, slow_fleet(sites, support, trust), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_spread_between_sites_is_found_where_it_is(rng) -> None:
    spread = np.array([1.0, 0.0])
    sites = rng.standard_normal((200, CLASSES, 2)) * np.sqrt(spread + 1.0 / 20.0)
    support = np.full((200, CLASSES), 20.0)
    zeros = np.zeros((CLASSES, 2))
    _, tau2, _ = random_effects._fleet(
        sites, support, np.ones((200, CLASSES)), zeros, np.full(CLASSES, 20.0)
    )
    np.testing.assert_allclose(tau2, spread, atol=0.1)


def test_where_sites_differ_it_beats_merging_and_own_evidence() -> None:
    reached = []
    for seed in range(1, 7):
        mine, tests = own(seed, 24, 0.6)
        packets = peers(range(10, 26), 0.6)
        made = Hierarchical().head_of(mine, D, packets)
        others = [(Hierarchical(), {}), (AnalyticHead(), packets)]
        others.append((AnalyticHead(gate="none"), packets))
        heads = [made, *(rule.head_of(mine, D, held) for rule, held in others)]
        reached.append([accuracy(head, tests) for head in heads])
        assert made.authors
    ours, *rest = np.mean(reached, axis=0)
    assert ours > max(rest) + 0.01


def test_where_sites_are_alike_it_learns_as_much_as_merging_does() -> None:
    mine, tests = own(1, 24, 0.0)
    packets = peers(range(10, 26), 0.0)
    alike = dict.fromkeys(packets, 1.0)
    merged = accuracy(AnalyticHead(gate="none").head_of(mine, D, packets), tests)
    assert accuracy(Hierarchical().head_of(mine, D, packets, alike), tests) > merged - 0.01


def test_many_own_samples_of_a_site_apart_are_not_harmed() -> None:
    mine, tests = own(1, 800, 3.0)
    alone = accuracy(Hierarchical().head_of(mine, D, {}), tests)
    made = Hierarchical().head_of(mine, D, peers(range(10, 26), 3.0))
    assert accuracy(made, tests) > alone - 0.005


def test_the_order_of_packets_changes_no_bit_and_one_forgotten_leaves_no_trace() -> None:
    mine, _ = own(1, 40, 1.0)
    packets = peers(range(10, 18), 1.0)
    one = Hierarchical().head_of(mine, D, packets)
    other = Hierarchical().head_of(mine, D, dict(reversed(packets.items())))
    assert np.array_equal(one.head.weights, other.head.weights)
    assert np.array_equal(one.head.bias, other.head.bias)
    assert one.authors == other.authors
    assert one.gains == other.gains
    left = {a: p for a, p in packets.items() if a != bytes([12])}
    fresh = Hierarchical().head_of(mine, D, peers([10, 11, 13, 14, 15, 16, 17], 1.0))
    assert np.array_equal(Hierarchical().head_of(mine, D, left).head.weights, fresh.head.weights)


def test_a_class_of_which_peers_alone_know_is_taken_over_and_one_of_nobody_is_not() -> None:
    (x, y), (tx, ty) = site(1, 60, 0.3)
    few, far = y < 2, np.float32(20.0)  # from the origin
    x, tx = x + far, tx + far
    mine = OwnEvidence.from_samples(x[few], y[few], CLASSES + 1, 1)
    packets = {
        a: Statistics(
            np.append(p.counts, 0.0),
            np.vstack([p.sums + far * p.counts[:, None], np.zeros(D)]),
            p.scatter,
        )
        for a, p in peers(range(10, 22), 0.3).items()
    }
    head = Hierarchical().head_of(mine, D, packets, dict.fromkeys(packets, 1.0)).head
    scores = head.scores(tx)
    assert (scores[:, CLASSES] < scores[:, :CLASSES].max(axis=1) + UNSEEN / 2).all()
    seen = scores[:, :CLASSES].argmax(axis=1)
    assert (seen == ty)[ty >= 2].mean() > 0.7


@pytest.mark.parametrize("weight", [1.0, 0.2, 0.05])
def test_packets_that_count_little_do_not_hide_how_far_sites_differ(rng, weight) -> None:
    sites = rng.standard_normal((200, CLASSES, 2)) * np.sqrt(1.0 + 1.0 / 20.0)
    shares = np.where(np.arange(200) < 100, 1.0, weight)[:, None] * np.ones(CLASSES)
    support, zeros = np.full((200, CLASSES), 20.0), np.zeros((CLASSES, 2))
    _, tau2, _ = random_effects._fleet(sites, support, shares, zeros, np.full(CLASSES, 20.0))
    np.testing.assert_allclose(tau2, 1.0, atol=0.15)


def test_sites_of_one_class_each_are_not_far_from_anybody() -> None:
    (x, y), _ = site(1, 60, 0.2)
    mine = OwnEvidence.from_samples(x[y == 0], y[y == 0], CLASSES, 1)
    packets = {}
    for label in range(1, CLASSES):
        px, py = site(20 + label, 80, 0.2)[0]
        packets[bytes([label])] = class_statistics(px[py == label], py[py == label], CLASSES)
    made = Hierarchical().head_of(mine, D, packets, dict.fromkeys(packets, 1.0))
    assert (made.head.scores(x).max(axis=0) > UNSEEN / 2).all()  # each class is somebody's
    rows = np.concatenate([p.means() for p in (mine.statistics(D), *packets.values())])
    trust = random_effects._trust(rows, mine.statistics(D), list(packets.values()))
    np.testing.assert_array_equal(trust, 1.0)


@pytest.mark.parametrize(("kind", "least"), [("means", 0.0), ("narrow", -0.02)])
def test_packets_that_say_less_help_or_harm_little(kind, least) -> None:
    """Features have no order here: packets of the first fourteen of twenty lack what tells most."""
    brought = []
    for seed in range(1, 7):
        mine, tests = own(seed, 40, 0.5)
        packets = peers(range(10, 26), 0.5)
        if kind == "means":
            none = np.zeros((D, D))
            packets = {a: Statistics(p.counts, p.sums, none) for a, p in packets.items()}
        else:
            packets = {a: p.prefix(14) for a, p in packets.items()}
        alone, reached = (
            accuracy(Hierarchical().head_of(mine, D, held), tests) for held in ({}, packets)
        )
        brought.append(reached - alone)
    assert np.mean(brought) > least


@pytest.mark.parametrize(
    ("lie", "least"), [("far", 0.85), ("permuted", 0.7), ("claims", 0.7), ("copies", 0.85)]
)
def test_a_fifth_of_forged_sites_leaves_most_of_the_gain(lie, least) -> None:
    kept = []
    for seed in range(1, 7):
        mine, tests = own(seed, 24, 0.6)
        packets = peers(range(10, 30), 0.6)
        alone = accuracy(Hierarchical().head_of(mine, D, {}), tests)
        honest = accuracy(Hierarchical().head_of(mine, D, packets), tests)
        for author in sorted(packets)[::5]:
            p = packets[author]
            if lie == "far":
                forged = Statistics(p.counts, p.sums * 10.0, p.scatter)
            elif lie == "permuted":
                forged = Statistics(p.counts, np.roll(p.sums, 1, axis=0), p.scatter)
            elif lie == "claims":
                sums = np.roll(p.sums, 1, axis=0) * 1000.0
                forged = Statistics(p.counts * 1000.0, sums, p.scatter * 1000.0)
            else:
                forged = packets[sorted(packets)[0]]
            packets[author] = forged
        lied = accuracy(Hierarchical().head_of(mine, D, packets), tests)
        kept.append((lied - alone, honest - alone))
    lied, honest = np.sum(kept, axis=0)
    assert lied > least * honest > 0.0


def test_what_there_is_no_time_for_does_not_count_and_is_said() -> None:
    mine, _ = own(1, 40, 1.0)
    packets = peers(range(10, 60), 1.0)
    made = Hierarchical(gate_s=0.01).head_of(mine, D, packets)
    assert made.unasked > 0
    assert len(made.gains) + made.unasked == len(packets)
    assert np.isfinite(made.head.weights).all()


def test_no_packets_and_hardly_any_samples_are_no_crash() -> None:
    empty = Statistics(np.zeros(CLASSES), np.zeros((CLASSES, D)), np.zeros((D, D)))
    mine, _ = own(1, 4, 1.0)
    for packets in ({}, {b"a": empty}, peers([10], 1.0), peers([10], 1.0, n=5)):
        made = Hierarchical().head_of(mine, D, packets)
        assert np.isfinite(made.head.weights).all()
        assert np.isfinite(made.likelihood)


def test_the_balanced_objective_weighs_a_rare_class_alike() -> None:
    (x, y), (tx, ty) = site(3, 200, 0.8)
    rows = np.concatenate([np.flatnonzero(y > 0), np.flatnonzero(y == 0)[:6]])
    mine = OwnEvidence.from_samples(x[rows], y[rows], CLASSES, 3)
    made = Hierarchical(objective="balanced").head_of(mine, D, peers(range(10, 20), 0.8))
    scores = made.head.scores(tx).argmax(axis=1)
    assert np.mean([(scores == c)[ty == c].mean() for c in range(CLASSES)]) > 0.75
