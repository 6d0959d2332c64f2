"""Maps of sites that differ: as good as pooling where sites are alike, and safe elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsynth.errors import ConfigError
from qsynth.packet import Statistics, joint_statistics, scaled
from qsynth.synthesis.hierarchical import Hierarchical
from qsynth.synthesis.own_evidence import TargetEvidence
from qsynth.synthesis.ridge import Ridge, TargetView, synthesize_targets
from qsynth.synthesis.target_effects import _level, _together, mean_map
from qsynth.types import Task

D = 6


def site(seed: int, n: int, spread: float = 0.0, level: float = 0.0):
    """Return (n, D) inputs and (n, 1) values of a site whose map and level are its own."""
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(0).standard_normal((D, 1))
    weights = base + spread * rng.standard_normal((D, 1))
    x = rng.standard_normal((n, D)).astype(np.float32)
    shift = level * rng.standard_normal()
    y = x @ weights + shift + 0.7 * rng.standard_normal((n, 1))
    return x, y.astype(np.float32), weights, shift


def explained(made, weights, shift) -> float:
    """Return the share of the variance of noiseless values that a map explains."""
    x = np.random.default_rng(99).standard_normal((2000, D)).astype(np.float32)
    truth = x @ weights + shift
    wrong = truth - made.head.scores(x)
    return float(1.0 - np.square(wrong).mean() / np.var(truth))


def figures(n: int, rule, seeds=range(1, 9), peers: int = 8, spread=0.0, level=0.0, change=None):
    """Return what a rule explains on average: alone, and with packets."""
    rows = []
    for seed in seeds:
        x, y, weights, shift = site(seed, n, spread, level)
        own = TargetEvidence.from_samples(x, y, seed)
        packets = {
            bytes([p]): joint_statistics(*site(100 * seed + p, 40, spread, level)[:2])
            for p in range(peers)
        }
        if change is not None:
            packets = change(packets, own)
        rows.append([explained(rule(own, held), weights, shift) for held in ({}, packets)])
    return np.mean(rows, axis=0)


def hierarchical(own, packets):
    return mean_map(TargetView.of(own, D), packets, {}, 16.0, None)


def ridge(own, packets):
    return synthesize_targets(Ridge(), own, D, packets)


def test_packets_of_alike_sites_are_learned_from() -> None:
    alone, with_them = figures(12, hierarchical)
    assert with_them > alone + 0.05
    assert with_them > figures(12, ridge)[1] - 0.02


@pytest.mark.parametrize(("spread", "level"), [(0.0, 3.0), (0.5, 0.0), (0.5, 3.0)])
def test_where_sites_differ_nobody_is_harmed(spread, level) -> None:
    alone, with_them = figures(20, hierarchical, spread=spread, level=level)
    assert with_them > alone - 0.005
    assert with_them > figures(20, ridge, spread=spread, level=level)[1] - 0.02


def test_levels_of_their_own_leave_the_slopes_to_be_shared() -> None:
    alone, with_them = figures(12, hierarchical, level=5.0)
    assert with_them > alone + 0.01


def test_copies_of_a_lie_and_of_ones_own_packet_count_once_or_never() -> None:
    def lied(packets, own):
        lie = joint_statistics(*site(7777, 40)[:2])
        turned = Statistics(lie.counts, -lie.sums, lie.scatter.copy())
        turned.scatter[:1, 1:] *= -1.0
        turned.scatter[1:, :1] *= -1.0
        return packets | {bytes([100 + n]): turned for n in range(20)}

    honest, attacked = figures(12, hierarchical)[1], figures(12, hierarchical, change=lied)[1]
    assert attacked > honest - 0.03
    x, y, *_ = site(1, 12)
    own = TargetEvidence.from_samples(x, y, 1)
    mine = own.statistics(D)
    made = hierarchical(own, {bytes([n]): mine for n in range(10)})
    assert made.authors == ()


def test_the_same_packets_give_the_same_bits_in_any_order() -> None:
    x, y, *_ = site(1, 20)
    own = TargetEvidence.from_samples(x, y, 1)
    packets = {bytes([p]): joint_statistics(*site(p + 50, 40)[:2]) for p in range(5)}
    one, other = hierarchical(own, packets), hierarchical(own, dict(reversed(packets.items())))
    assert np.array_equal(one.head.weights, other.head.weights)
    assert one.authors == other.authors
    without = hierarchical(own, {a: p for a, p in packets.items() if a != b"\x02"})
    again = hierarchical(own, {a: p for a, p in packets.items() if a != b"\x02"})
    assert np.array_equal(without.head.weights, again.head.weights)


def test_weighed_packets_are_those_of_a_slow_twin() -> None:
    parts = {bytes([p]): joint_statistics(*site(p + 50, 30)[:2]) for p in range(3)}
    mine = joint_statistics(*site(1, 20)[:2])
    weights = {b"\x00": 0.3, b"\x01": 1.0, b"\x02": 0.1}
    made = _together(mine, parts, weights, 1, False)
    counts = sum(w * parts[a].counts for a, w in weights.items())
    sums = sum(w * parts[a].sums for a, w in weights.items())
    mean = sums / counts[:, None]
    scatter = np.zeros_like(mine.scatter)
    for author, w in weights.items():
        apart = parts[author].means()[0] - mean[0]
        scatter += w * (parts[author].scatter + parts[author].counts[0] * np.outer(apart, apart))
    np.testing.assert_allclose(made.counts, counts)
    np.testing.assert_allclose(made.sums, sums)
    np.testing.assert_allclose(made.scatter, scatter, atol=1e-8)
    level = _together(mine, parts, weights, 1, True)
    np.testing.assert_allclose(level.means()[0, 1:], mine.means()[0, 1:])


@pytest.mark.parametrize("spread", [0.0, 0.3, 5.0])
def test_a_level_lies_between_ones_own_and_the_fleets(spread) -> None:
    x, y, weights, _ = site(1, 20)
    mine = joint_statistics(x, y + 1.0)  # a level of 1
    parts = [
        joint_statistics(x, y + spread * np.random.default_rng(seed).standard_normal())
        for seed, (x, y, *_) in ((seed, site(seed, 200)) for seed in range(2, 42))
    ]
    told = _level(mine, parts, 1)
    above = float(told[0] - told[1:] @ weights[:, 0])
    own = float(mine.means()[0, 0] - mine.means()[0, 1:] @ weights[:, 0])
    wanted = spread**2 / (spread**2 + 0.49 / 20)
    assert abs(above - wanted * own) < 0.25 * max(spread, 0.2)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_hardly_any_samples_and_odd_packets_are_no_crash(n) -> None:
    x, y, *_ = site(1, n)
    own = TargetEvidence.from_samples(x, y, 1)
    empty = Statistics(np.zeros(1), np.zeros((1, D + 1)), np.zeros((D + 1, D + 1)))
    packet = joint_statistics(*site(3, 40)[:2])
    huge = scaled(packet, 1e9)
    for packets in ({}, {b"a": empty}, {b"a": packet}, {b"a": huge, b"b": packet}):
        made = hierarchical(own, packets)
        assert np.isfinite(made.head.weights).all()
        assert np.isfinite(made.likelihood)
        assert made.unasked == 0


def test_what_there_is_no_time_for_is_said() -> None:
    x, y, *_ = site(1, 20)
    own = TargetEvidence.from_samples(x, y, 1)
    packets = {bytes([p]): joint_statistics(*site(p, 40)[:2]) for p in range(200)}
    made = mean_map(TargetView.of(own, D), packets, {}, 16.0, 0.01)
    assert 0 < made.unasked <= len(packets) - len(made.gains)


@pytest.mark.parametrize(
    "change", [{"objective": "balanced"}, {"network": "boost"}, {"network": "hybrid"}]
)
def test_settings_of_classes_are_refused_for_values(change) -> None:
    values = Task("t", 1, ("v",), "vector", (D,), "", -4.0, 4.0, kind="values")
    Hierarchical().check_task(values)
    with pytest.raises(ConfigError, match="is for classes"):
        replace(Hierarchical(), **change).check_task(values)
