"""The coding `means`: 512 bytes, 4-bit numbers, and nothing that crashes a receiver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.distill import distil, payload_statistics
from qsynth.distill.analytic import Analytic
from qsynth.distill.means import code_means, mean_shapes
from qsynth.errors import ConfigError, PacketError
from qsynth.packet import class_statistics, packet_bytes

TINY = Analytic(coding="means", max_bytes=512)


def samples(rng, n=200, d=24, classes=4):
    y = rng.integers(0, classes, n)
    return (rng.standard_normal((n, d)) + 2 * y[:, None]).astype(np.float32), y


def samples_for(rng):
    x, y = samples(rng)
    return x, None, y, 4


def test_means_come_back_to_a_step_and_the_scatter_is_silent(rng) -> None:
    x, y = samples(rng)
    payload = distil(TINY, 24, x, None, y, 4)
    got, true = payload_statistics(payload), class_statistics(x, y, 4)
    np.testing.assert_array_equal(got.counts, true.counts)
    assert not got.scatter.any()
    error = np.abs(got.means() - true.means())
    assert np.median(error) < 0.1 * np.abs(true.means()).max()


def test_ten_classes_fit_into_512_bytes_and_the_size_is_known() -> None:
    d = TINY.dimensions(1000, 256, 10, 196)
    assert d == 44
    assert TINY.packet_size(d, 10, 196) <= 512 < TINY.packet_size(d + 2, 10, 196)
    rng = np.random.default_rng(0)
    x, y = samples(rng, 300, 44, 10)
    assert packet_bytes(distil(TINY, d, x, None, y, 10)) == TINY.packet_size(d, 10, 196)
    with pytest.raises(ConfigError, match=r"distill\.d=44 would fit"):
        TINY.check_size(64, 10, 196)


def test_an_odd_d_is_rounded_down() -> None:
    assert Analytic(coding="means", d=31).dimensions(60, 256, 10, 196) == 30


def test_a_hundred_classes_fit_where_max_bytes_picks_d(rng) -> None:
    config = Analytic(max_bytes=8192)
    d = config.dimensions(2000, 256, 100, 196)
    assert 8 <= d < 256
    assert config.check_size(d, 100, 196) <= 8192
    x, y = samples(rng, 3000, d, 100)
    got = payload_statistics(distil(config, d, x, None, y, 100))
    np.testing.assert_allclose(got.means(), class_statistics(x, y, 100).means(), atol=2.0)
    # 4-bit means alone carry several times as many features.
    assert Analytic(coding="means", max_bytes=8192).dimensions(2000, 256, 100, 196) >= 2 * d


@pytest.mark.parametrize("damage", ["missing", "shape", "dtype", "step", "fifteen"])
def test_damaged_payloads_are_refused(rng, damage) -> None:
    payload = dict(code_means(class_statistics(*samples(rng), 4)))
    if damage == "missing":
        del payload["mean_steps"]
    elif damage == "shape":
        payload["mean_steps"] = payload["mean_steps"][:2]
    elif damage == "dtype":
        payload["mean_codes"] = payload["mean_codes"].astype(np.int8)
    elif damage == "step":
        payload["mean_step"] = np.array([np.nan], np.float32)
    else:
        payload["mean_codes"] = np.full_like(payload["mean_codes"], 0xF7)
    with pytest.raises(PacketError) as caught:
        payload_statistics(payload)
    assert caught.value.reason in ("schema", "range")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_numbers_are_decoded_or_refused(data) -> None:
    classes, half = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    payload = {}
    for key, (shape, dtype) in mean_shapes(classes, 2 * half).items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = data.draw(st.binary(min_size=size, max_size=size))
        payload[key] = np.frombuffer(raw, dtype).reshape(shape)
    try:
        got = payload_statistics(payload)
    except PacketError as error:
        assert error.reason in ("schema", "range")
    else:
        assert np.isfinite(got.sums).all()


@pytest.mark.parametrize(
    "raw", [b"\1\0\x80\x7f", b"\0\0\x81\xff", b"\0\0\xc0\x7f", b"\0\0\x80\x7f"]
)
def test_no_kind_of_not_a_number_is_more_than_a_refusal(rng, raw) -> None:
    # A signalling NaN warns where it is widened; warnings are errors here.
    bad = np.frombuffer(raw, np.float32)
    for coding, keys in (
        ("means", ["mean_step"]),
        ("low_rank", ["mean_scales", "factor_scales", "diagonal_bounds"]),
    ):
        whole = distil(Analytic(coding=coding), 24, *samples_for(rng))
        for key in keys:
            with pytest.raises(PacketError, match="range"):
                payload_statistics({**whole, key: np.resize(bad, whole[key].shape)})


def test_a_packet_that_would_fill_the_memory_is_refused_before_it_does() -> None:
    wide = {
        "counts": np.ones(1, np.uint32),
        "mean_codes": np.zeros((1, 16000), np.uint8),
        "mean_steps": np.ones(1, np.uint8),
        "mean_step": np.ones(1, np.float32),
    }
    with pytest.raises(PacketError, match="schema"):
        payload_statistics(wide)
    d = 15000
    wide = {
        "counts": np.ones(1, np.uint32),
        "means": np.zeros((1, d), np.int8),
        "mean_scales": np.ones(1, np.float32),
        "factors": np.zeros((d, 0), np.int8),
        "factor_scales": np.ones(0, np.float32),
        "diagonal": np.zeros(d, np.uint8),
        "diagonal_bounds": np.zeros(2, np.float32),
    }
    with pytest.raises(PacketError, match="schema"):
        payload_statistics(wide)
