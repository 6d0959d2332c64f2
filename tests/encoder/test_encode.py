from __future__ import annotations

import numpy as np
import pytest
import torch

from qsynth.encoder import make_encoder
from qsynth.encoder.config import SeededConv, SeededFourier
from qsynth.encoder.projection import one_over_f, whitened_components
from qsynth.errors import ConfigError
from qsynth.types import Task

SMALL = SeededConv(dimensions=32, fit_images=300, filters=8)
VECTOR = Task("v", 1, ("a", "b"), "vector", (5,), "", -1.0, 1.0, (0.0,), (2.0,))


def test_the_encoder_is_a_pure_function_of_its_config(task, rng, monkeypatch, tmp_path) -> None:
    x = rng.random((7, 1, 8, 8), np.float32)
    first = make_encoder(SMALL, task).encode(x)
    cached = make_encoder(SMALL, task).encode(x)
    monkeypatch.setenv("QSYNTH_CACHE_DIR", str(tmp_path))
    fitted = make_encoder(SMALL, task).encode(x)
    assert np.array_equal(first, cached)
    np.testing.assert_allclose(first, fitted, atol=1e-3)


def test_a_torn_cache_is_fitted_again(task, rng, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("QSYNTH_CACHE_DIR", str(tmp_path))
    x = rng.random((3, 1, 8, 8), np.float32)
    before = make_encoder(SMALL, task).encode(x)
    (file,) = (tmp_path / "encoder").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert np.array_equal(make_encoder(SMALL, task).encode(x), before)


def test_the_first_columns_are_the_smaller_encoder(task, rng) -> None:
    x = rng.random((5, 1, 8, 8), np.float32)
    encoder = make_encoder(SMALL, task)
    smaller = make_encoder(SeededConv(dimensions=12, fit_images=300, filters=8), task)
    np.testing.assert_allclose(encoder.encode(x, 12), smaller.encode(x), atol=1e-4)
    assert encoder.digest != smaller.digest


def test_batches_do_not_matter(task, rng) -> None:
    x = rng.random((40, 1, 8, 8), np.float32)
    encoder = make_encoder(SMALL, task)
    one_by_one = np.concatenate([encoder.encode(x[i : i + 1]) for i in range(40)])
    np.testing.assert_allclose(encoder.encode(x), one_by_one, atol=1e-4)


def test_many_at_once_are_encoded_as_a_forward_pass_does(task, rng) -> None:
    x = rng.random((150, 1, 8, 8), np.float32)
    for encoder in (make_encoder(SMALL, task), make_encoder(SeededFourier(dimensions=20), task)):
        with torch.no_grad():
            forward = encoder(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(encoder.encode(x), forward, atol=1e-4)
        np.testing.assert_allclose(encoder.encode(x, 12), forward[:, :12], atol=1e-4)


def test_another_seed_or_range_is_another_encoder(task) -> None:
    digest = make_encoder(SMALL, task).digest
    other = SeededConv(dimensions=32, fit_images=300, filters=8, seed=1)
    assert make_encoder(other, task).digest != digest


def test_whitened_components_are_white(rng) -> None:
    x = (rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6)) + 3).astype(np.float32)
    mean, projection = whitened_components(x, 4)
    z = (x - mean) @ projection
    np.testing.assert_allclose(np.cov(z.T, bias=True), np.eye(4), atol=1e-3)


def test_noise_falls_with_frequency(rng) -> None:
    noise = one_over_f(rng, 50, (1, 32, 32))
    spectrum = np.abs(np.fft.rfft(noise[:, 0], axis=2)).mean(axis=(0, 1))
    assert spectrum[1] > 2 * spectrum[8] > 0
    assert noise.min() >= 0
    assert noise.max() <= 1


def test_vectors_and_series_have_the_fourier_encoder(rng) -> None:
    config = SeededFourier(dimensions=16, fit_inputs=300, frequencies=64)
    assert make_encoder(config, VECTOR).encode(rng.random((4, 5), np.float32)).shape == (4, 16)
    series = Task("s", 1, ("a", "b"), "series", (2, 20), "", 0.0, 1.0)
    assert make_encoder(config, series).encode(rng.random((4, 2, 20), np.float32)).shape == (4, 16)


def test_the_tasks_scaling_is_used_and_never_the_datas(rng) -> None:
    from dataclasses import replace

    config = SeededFourier(dimensions=16, fit_inputs=300, frequencies=64)
    x = rng.random((4, 5), np.float32)
    wide = replace(VECTOR, scale=(4.0,))
    np.testing.assert_allclose(
        make_encoder(config, VECTOR).encode(x), make_encoder(config, wide).encode(2 * x), atol=1e-3
    )


def test_a_layout_that_does_not_fit_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="encoder=seeded_fourier"):
        make_encoder(SeededConv(), VECTOR)
    tiny = Task("t", 1, ("a", "b"), "image", (1, 4, 4), "", 0.0, 1.0)
    with pytest.raises(ConfigError, match="at least 6 pixels"):
        make_encoder(SeededConv(), tiny)


def test_the_encoder_is_frozen(task) -> None:
    encoder = make_encoder(SMALL, task)
    assert not any(p.requires_grad for p in encoder.parameters())
    assert not encoder(torch.rand(2, 1, 8, 8)).requires_grad
