from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.distill import distil, payload_statistics
from qsynth.distill.analytic import Analytic
from qsynth.distill.subset import narrow, widen
from qsynth.errors import ConfigError, PacketError
from qsynth.packet import class_statistics, packet_bytes


def samples(rng, n=200, d=24, classes=4):
    y = rng.integers(0, classes, n)
    return (rng.standard_normal((n, d)) + 2 * y[:, None]).astype(np.float32), y


def test_what_a_packet_says_is_close_to_the_truth(rng) -> None:
    x, y = samples(rng)
    got = payload_statistics(distil(Analytic(rank=24), 24, x, None, y, 4))
    true = class_statistics(x, y, 4)
    np.testing.assert_array_equal(got.counts, true.counts)
    np.testing.assert_allclose(got.means(), true.means(), atol=0.05)
    assert np.linalg.norm(got.scatter - true.scatter) < 0.03 * np.linalg.norm(true.scatter)
    np.testing.assert_allclose(np.diag(got.scatter), np.diag(true.scatter), rtol=0.03)


def test_a_class_below_min_support_is_left_out_altogether(rng) -> None:
    x, y = samples(rng, 100)
    y[:] = np.where(y == 3, 0, y)
    y[:4], x[:4] = 3, 1e6
    got = payload_statistics(distil(Analytic(min_support=5), 24, x, x, y, 4))
    assert got.counts[3] == 0
    assert got.counts.sum() == 96
    assert np.abs(got.means()).max() < 100
    assert np.abs(got.scatter).max() < 1e6


def test_claimed_support_never_exceeds_the_true_samples(rng) -> None:
    for n in (0, 3, 17, 60):
        x, y = samples(rng, n)
        got = payload_statistics(distil(Analytic(), 8, x, None, y, 4))
        assert np.all(got.counts <= np.bincount(y, minlength=4))


@pytest.mark.parametrize("input_rank", [None, 0, 8])
def test_the_size_is_known_beforehand(rng, input_rank) -> None:
    x, y = samples(rng)
    config = Analytic(input_rank=input_rank)
    payload = distil(config, 24, x, x, y, 4)
    assert packet_bytes(payload) == config.packet_size(24, 4, 24)


def test_the_error_names_a_setting_that_fits() -> None:
    config = Analytic(max_bytes=2048, rank=16)
    with pytest.raises(ConfigError, match=r"distill\.d=(\d+) would fit") as caught:
        config.check_size(128, 10, 196)
    import re

    fitting = int(re.search(r"distill\.d=(\d+)", str(caught.value))[1])
    assert config.check_size(fitting, 10, 196) <= 2048
    with pytest.raises(ConfigError):
        config.check_size(fitting + 1, 10, 196)


def test_auto_is_half_the_samples_within_max_bytes() -> None:
    assert Analytic().dimensions(60, 256, 10, 196) == 30
    assert Analytic().dimensions(9, 256, 10, 196) == 8
    assert Analytic(max_bytes=32768).dimensions(9000, 256, 10, 196) == 256
    small = Analytic(max_bytes=2048).dimensions(9000, 256, 10, 196)
    assert Analytic().packet_size(small, 10, 196) <= 2048
    assert Analytic(d=300).dimensions(60, 256, 10, 196) == 256
    assert Analytic(d="fit").dimensions(60, 256, 10, 196) == 256
    fitting = Analytic(d="fit", max_bytes=4096).dimensions(60, 256, 10, 196)
    assert Analytic().packet_size(fitting, 10, 196) <= 4096
    assert Analytic().packet_size(fitting + 1, 10, 196) > 4096


def test_input_statistics_travel_only_where_asked_for(rng) -> None:
    x, y = samples(rng)
    assert "input_means" not in distil(Analytic(), 24, x, x, y, 4)
    payload = distil(Analytic(input_rank=4), 24, x, x, y, 4)
    assert payload_statistics(payload, "input_").dimensions == 24


NAMES = [
    "counts",
    "means",
    "mean_scales",
    "factors",
    "factor_scales",
    "diagonal",
    "diagonal_bounds",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_malformed_payload_is_refused(rng, name) -> None:
    x, y = samples(rng)
    good = distil(Analytic(), 24, x, None, y, 4)
    missing = {key: value for key, value in good.items() if key != name}
    short = good | {name: good[name][..., :-1]}
    flat = good | {name: good[name].reshape(-1)[0].reshape(())}
    other = good | {name: good[name].astype(np.float64)}
    for payload in (missing, short, flat, other):
        # Another number of factors is a right payload of another rank.
        if name == "factors" and payload is short:
            payload = payload | {"factor_scales": good["factor_scales"]}
        with pytest.raises(PacketError):
            payload_statistics(payload)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_numbers_out_of_range_are_refused(rng, value) -> None:
    x, y = samples(rng)
    for name in ("mean_scales", "factor_scales", "diagonal_bounds"):
        payload = distil(Analytic(), 24, x, None, y, 4)
        payload[name] = payload[name].copy()
        payload[name][0] = value
        with pytest.raises(PacketError, match="range"):
            payload_statistics(payload)


ARRAYS = st.sampled_from([np.int8, np.uint8, np.uint32, np.float32]).flatmap(
    lambda t: st.lists(st.integers(0, 5), min_size=0, max_size=3).map(
        lambda shape: np.zeros(shape, t)
    )
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), ARRAYS))
def test_any_payload_is_read_or_refused(payload) -> None:
    try:
        read = payload_statistics(payload)
    except PacketError:
        return
    assert np.isfinite(read.scatter).all()


@pytest.mark.parametrize("coding", ["low_rank", "diagonal", "means"])
@pytest.mark.parametrize(
    ("classes", "held", "input_rank"), [(100, 100, None), (100, 12, 4), (1000, 60, None)]
)
def test_of_many_classes_a_packet_tells_of_those_with_most_samples(
    rng, coding, classes, held, input_rank
) -> None:
    """At 2 KiB not a hundred rows of eight features: d goes to its least, then classes go."""
    n = 900
    y = rng.integers(0, held, n) * (classes // held)
    x = rng.standard_normal((n, 64)).astype(np.float32) + y[:, None] / classes
    inputs = x[:, :16]
    input_rank = None if coding == "means" else input_rank
    config = Analytic(
        max_bytes=5000 if classes == 1000 else 2048, coding=coding, input_rank=input_rank
    )
    d = config.dimensions(n, 64, classes, 16)
    payload = distil(config, d, x, inputs, y, classes)
    assert packet_bytes(payload) <= config.max_bytes
    assert config.check_size(d, classes, 16, samples=n) <= config.max_bytes
    got = payload_statistics(payload)
    counts = np.bincount(y, minlength=classes)
    told = np.flatnonzero(got.counts)
    np.testing.assert_array_equal(got.counts[told], counts[told])
    left_out = np.setdiff1d(np.flatnonzero(counts >= config.min_support), told)
    assert len(told) > 5
    if len(left_out):
        assert counts[left_out].max() <= counts[told].min()
    true = np.array([x[y == c, :d].mean(axis=0) for c in told])
    np.testing.assert_allclose(got.means()[told], true, atol=0.25 if coding == "means" else 0.03)
    if input_rank is not None:
        assert payload_statistics(payload, "input_").sums.shape == (classes, 16)


def test_classes_that_one_has_nothing_of_take_no_room(rng) -> None:
    """Twelve classes of a hundred at the same size leave room for many more features."""
    config = Analytic()
    n = 300
    y = rng.integers(0, 12, n)
    x = rng.standard_normal((n, 256)).astype(np.float32)
    few, many = (config.dimensions(samples, 256, 100, 196) for samples in (60, 5000))
    assert few == 30
    assert Analytic(d="fit").dimensions(60, 256, 100, 196) > many + 80
    payload = distil(Analytic(d="fit"), 200, x, None, y, 100)
    assert len(payload["means"]) == 12
    assert packet_bytes(payload) <= config.max_bytes


def test_an_explicit_d_that_leaves_classes_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="would fit"):
        Analytic(d=128).check_size(128, 100, 196, samples=5000)
    assert Analytic(d=128).check_size(128, 100, 196, samples=60) <= 8192


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(0, 30))
def test_rows_left_out_are_found_again(counts, rows) -> None:
    """narrow and widen are inverse, and other numbers of rows are left for the decoder."""
    counted = np.array(counts, np.uint32)
    means = np.where(counted[:, None] > 0, 7, 0).astype(np.int8) * np.ones((1, 5), np.int8)
    payload = {"counts": counted, "means": means}
    assert np.array_equal(widen(narrow(payload))["means"], means)
    other = np.zeros((rows, 5), np.int8)
    told = int((counted > 0).sum())
    expected = len(counts) if rows == told else rows
    assert len(widen({"counts": counted, "means": other})["means"]) == expected
