"""The encoder `identity`: inputs in units of their spread, and packets that have all of them."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.distill.analytic import Analytic
from qsynth.encoder import make_encoder
from qsynth.encoder.config import Identity, SeededFourier
from qsynth.errors import ConfigError
from qsynth.types import Task


def task(layout="vector", shape=(5,), **more) -> Task:
    return Task("t", 1, ("a", "b"), layout, shape, "", -4.0, 4.0, **more)


def test_inputs_come_back_in_units_of_the_task(rng) -> None:
    location, scale = (1.0, 0.0, 2.0, 0.0, 0.0), (1.0, 2.0, 0.5, 1.0, 4.0)
    encoder = make_encoder(Identity(), task(location=location, scale=scale))
    x = rng.uniform(-2.0, 4.0, (40, 5)).astype(np.float32)
    before = x.copy()
    np.testing.assert_allclose(encoder.encode(x), (x - location) / scale, rtol=1e-5, atol=1e-6)
    assert np.array_equal(encoder.encode(x, 3), encoder.encode(x)[:, :3])
    assert np.array_equal(x, before)
    assert encoder.dimensions == 5


def test_a_number_far_outside_counts_no_more_than_the_bound() -> None:
    encoder = make_encoder(Identity(clip=3.0), task())
    got = encoder.encode(np.array([[1e6, -1e6, 2.0, 0.0, -2.0]], np.float32))
    np.testing.assert_allclose(got, [[3.0, -3.0, 1.0, 0.0, -1.0]])  # a unit is a quarter of 8


def test_series_are_flattened_and_tokens_refused(rng) -> None:
    x = rng.standard_normal((4, 2, 6)).astype(np.float32)
    encoder = make_encoder(Identity(), task("series", (2, 6)))
    np.testing.assert_allclose(encoder.encode(x), x.reshape(4, 12) / 2.0, rtol=1e-6)
    with pytest.raises(ConfigError, match="needs vector or series or images"):
        make_encoder(Identity(), task("tokens", (6,)))


def test_more_numbers_than_a_packet_can_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="inputs have 2000 numbers"):
        make_encoder(Identity(), task(shape=(2000,)))


def test_a_packet_leaves_no_column_out_unless_it_would_not_fit() -> None:
    encoder = make_encoder(Identity(), task(shape=(60,)))
    rule = Analytic()
    assert encoder.least == 60
    assert rule.dimensions(20, encoder.dimensions, 2, 60, encoder.least) == 60
    assert rule.dimensions(20, encoder.dimensions, 2, 60) == 10  # features that have an order
    small = Analytic(max_bytes=1024)
    d = small.dimensions(20, encoder.dimensions, 2, 60, encoder.least)
    assert d < 60
    assert small.packet_size(d, 2, 60) <= 1024
    fourier = make_encoder(SeededFourier(dimensions=32, fit_inputs=300), task(shape=(60,)))
    assert fourier.least == 0
    assert Analytic(d=7).dimensions(20, encoder.dimensions, 2, 60, encoder.least) == 7


def test_the_digest_follows_location_and_scale() -> None:
    one = make_encoder(Identity(), task(location=(0.0,), scale=(1.0,)))
    other = make_encoder(Identity(), task(location=(0.0,), scale=(2.0,)))
    assert one.digest != other.digest
    assert (
        one.digest != make_encoder(Identity(clip=4.0), task(location=(0.0,), scale=(1.0,))).digest
    )
