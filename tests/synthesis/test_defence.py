"""Copies, claims and medians, against slow and obvious twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsynth.packet import Statistics, class_statistics, merge
from qsynth.synthesis.defence import capped, distinct


def statistics(rng, n: int = 40, d: int = 5, classes: int = 3) -> Statistics:
    y = rng.integers(0, classes, n)
    return class_statistics(rng.standard_normal((n, d)) + y[:, None], y, classes)


def test_copies_of_ones_own_and_of_others_count_once(rng) -> None:
    own, one, two = (statistics(rng) for _ in range(3))
    near = Statistics(one.counts, one.sums * 1.001, one.scatter)
    packets = {b"b": one, b"a": near, b"c": two, b"d": own}
    assert set(distinct(packets, own)) == {b"a", b"c"}


def test_a_copy_that_leaves_rare_classes_out_is_found(rng) -> None:
    own = statistics(rng)
    told = np.array([True, True, False])
    part = Statistics(
        np.where(told, own.counts, 0), np.where(told[:, None], own.sums, 0), own.scatter
    )
    assert distinct({b"a": part}, own) == {}


@pytest.mark.parametrize("size", [1.0, 7.0])
def test_ones_own_scatter_under_other_means_is_a_copy(rng, size) -> None:
    own, other = (statistics(rng, 60, 20) for _ in range(2))
    rounded = own.scatter * np.exp(0.01 * rng.standard_normal(own.scatter.shape))
    lie = Statistics(other.counts * size, other.sums * size, rounded * size)
    assert distinct({b"a": lie}, own) == {}
    few = Statistics(lie.counts, lie.sums[:, :8], lie.scatter[:8, :8])
    assert set(distinct({b"a": few}, own)) == {b"a"}, "so few features are alike by chance"
    none = Statistics(other.counts, other.sums, np.zeros_like(other.scatter))
    assert set(distinct({b"a": none}, own)) == {b"a"}


def test_scatters_of_the_same_data_are_no_copies(rng) -> None:
    """Among two hundred pairs, of few samples and of many, and of sums with own samples in them."""
    for n, m in ((30, 30), (60, 400), (400, 400), (3000, 3000)):
        for _ in range(50):
            own, other = statistics(rng, n, 24), statistics(rng, m, 24)
            assert set(distinct({b"a": other}, own)) == {b"a"}
            assert set(distinct({b"a": merge([own, other])}, own)) == {b"a"}


@given(st.integers(0, 2**31), st.floats(0.5, 1e4))
def test_a_packet_counts_as_at_most_so_many_samples(seed, most) -> None:
    packet = statistics(np.random.default_rng(seed))
    got = capped(packet, most)
    assert got.counts.sum() <= most + 1e-6
    np.testing.assert_allclose(
        got.means() * (got.counts >= 1)[:, None], packet.means() * (got.counts >= 1)[:, None]
    )
    if packet.counts.sum() <= most:
        assert got is packet
