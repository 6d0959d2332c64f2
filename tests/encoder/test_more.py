"""Encoders of series, and of the user's own networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qsynth.encoder import make_encoder
from qsynth.encoder.config import ModuleEncoder, SeededConv, SeededConv1d
from qsynth.errors import ConfigError
from qsynth.types import Task

SERIES = Task("s", 1, ("a", "b"), "series", (2, 40), "", -1.0, 1.0)
VECTOR = Task("v", 1, ("a", "b"), "vector", (12,), "", 0.0, 1.0, (0.5,), (2.0,))
SMALL = SeededConv1d(dimensions=24, filters=12, fit_inputs=300)


class Backbone(nn.Module):
    """A stand-in for a pre-trained network: weights from a seed."""

    def __init__(self, seed: int = 0, size: int = 12) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, 20), nn.ReLU())

    def forward(self, inputs):
        return self.layers(inputs)


class Noisy(Backbone):
    def forward(self, inputs):
        return super().forward(inputs) + torch.rand(1)


class Holed(Backbone):
    """Fails on inputs that no probe is like."""

    def forward(self, inputs):
        return torch.where(inputs[:, :1] > 99.0, torch.nan, super().forward(inputs))


class Empty(Backbone):
    def forward(self, inputs):
        return inputs[:, :0]


def module(**more) -> ModuleEncoder:
    return ModuleEncoder(target=f"{__name__}.Backbone", dimensions=8, fit_inputs=300, **more)


@pytest.fixture(autouse=True)
def importable(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this())


def _this():
    import types

    made = types.ModuleType(__name__)
    made.Backbone, made.Noisy, made.Holed, made.Empty = Backbone, Noisy, Holed, Empty
    made.not_a_module = dict
    return made


def test_series_are_encoded_alike_everywhere_and_a_prefix_is_the_smaller_encoder(rng) -> None:
    x = rng.uniform(-1, 1, (9, 2, 40)).astype(np.float32)
    one, other = make_encoder(SMALL, SERIES), make_encoder(SMALL, SERIES)
    np.testing.assert_array_equal(one.encode(x), other.encode(x))
    assert one.digest == other.digest
    np.testing.assert_array_equal(one.encode(x)[:, :5], one.encode(x, 5))
    assert one.encode(x).shape == (9, 24)


def test_series_of_other_rhythm_are_told_apart(rng) -> None:
    encoder = make_encoder(SeededConv1d(fit_inputs=300, dimensions=32), SERIES)
    time = np.arange(40)
    labels = np.arange(200) % 2
    phase = rng.uniform(0, 2 * np.pi, 200)
    slow_fast = np.where(labels == 0, 0.3, 0.9)
    wave = 0.7 * np.sin(time[None, :] * slow_fast[:, None] + phase[:, None])
    x = np.stack([wave, wave], axis=1) + 0.2 * rng.standard_normal((200, 2, 40))
    features = encoder.encode(x.astype(np.float32))
    means = [features[:100][labels[:100] == c].mean(axis=0) for c in (0, 1)]
    apart = [np.square(features[100:] - mean).sum(axis=1) for mean in means]
    right = (apart[1] < apart[0]) == labels[100:]
    assert right.mean() > 0.9


def test_layouts_that_do_not_fit_are_told_what_fits() -> None:
    with pytest.raises(ConfigError, match="use encoder=seeded_conv1d"):
        make_encoder(SeededConv(), SERIES)
    with pytest.raises(ConfigError, match="use encoder=seeded_fourier"):
        make_encoder(SMALL, VECTOR)
    short = Task("s", 1, ("a", "b"), "series", (1, 8), "", 0.0, 1.0)
    with pytest.raises(ConfigError, match="at least 16 steps"):
        make_encoder(SMALL, short)


def test_a_network_of_ones_own_is_frozen_and_its_weights_are_in_the_digest(rng) -> None:
    x = rng.uniform(0, 1, (7, 12)).astype(np.float32)
    encoder = make_encoder(module(), VECTOR)
    assert encoder.encode(x).shape == (7, 8)
    assert not any(p.requires_grad for p in encoder.parameters())
    other = make_encoder(module(arguments={"seed": 1}), VECTOR)
    assert encoder.digest != other.digest
    assert encoder.digest == make_encoder(module(), VECTOR).digest
    plain = make_encoder(module(whiten=False), VECTOR)
    twin = Backbone()(torch.from_numpy(x)).detach().numpy()[:, :8]
    np.testing.assert_allclose(plain.encode(x), twin, rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ModuleEncoder(), "cannot be imported"),
        (ModuleEncoder(target="collections.OrderedDict"), "must give a torch module"),
        (ModuleEncoder(target="no.such.Thing"), "cannot be imported"),
        (module(arguments={"size": 5}), "forward"),
        (replace(module(), target=f"{__name__}.Noisy"), "other features for the same x"),
        (replace(module(), target=f"{__name__}.Empty"), "must give numbers of shape"),
    ],
)
def test_a_wrong_network_is_one_line(config, said) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        make_encoder(config, VECTOR)
    assert "\n" not in str(caught.value)


def test_an_input_that_a_network_fails_on_is_named(rng) -> None:
    encoder = make_encoder(replace(module(), target=f"{__name__}.Holed"), VECTOR)
    x = rng.uniform(0, 1, (7, 12)).astype(np.float32)
    assert np.isfinite(encoder.encode(x)).all()
    x[3, 0] = 100.0
    with pytest.raises(ConfigError, match="for 1 of 7 inputs, the first in row 3"):
        encoder.encode(x)
