"""Text: sequences of tokens are spliced, never averaged, and ask for networks of one's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qsynth.encoder import make_encoder
from qsynth.encoder.config import ModuleEncoder, SeededConv, SeededFourier
from qsynth.errors import ConfigError
from qsynth.model import make_network
from qsynth.model.mlp import MLP
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.class_kd import ClassKd
from qsynth.synthesis.head_rule import Teach
from qsynth.synthesis.lesson import augmented, own_mix, spliced
from qsynth.types import Task

TASK = Task("words", 1, ("a", "b"), "tokens", (6,), "", 0.0, 19.0)


class Bag(nn.Module):
    """The share of each token of the vocabulary."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return nn.functional.one_hot(tokens.round().long(), 20).float().mean(dim=1)


def test_tokens_are_spliced_and_stay_whole(rng) -> None:
    own = rng.integers(0, 20, (30, 6)).astype(np.float32)
    made = own_mix(own, 200, TASK, rng)
    assert made.shape == (200, 6)
    assert made.dtype == np.float32
    assert np.array_equal(made, np.rint(made))
    as_is = {row.tobytes() for row in own}
    whole = np.mean([row.tobytes() in as_is for row in made])
    assert 0.25 < whole < 0.6  # a quarter, and those cut behind the last token
    # Every sequence is the beginning of one and the end of another.
    for row in made[:40]:
        begins = [int((np.cumprod(row == o)).sum()) for o in own]
        ends = [int((np.cumprod((row == o)[::-1])).sum()) for o in own]
        assert max(begins) + max(ends) >= 6
    assert np.array_equal(augmented(own, TASK, rng), own)
    one = spliced(own[:1], 5, rng)
    assert np.array_equal(one, np.repeat(own[:1], 5, axis=0))


def test_only_a_network_of_ones_own_encodes_tokens(monkeypatch) -> None:
    for config in (SeededConv(), SeededFourier()):
        with pytest.raises(ConfigError, match="use encoder=module"):
            make_encoder(config, TASK)
    monkeypatch.setattr("qsynth.encoder.module._load", lambda _: Bag())
    encoder = make_encoder(ModuleEncoder(target="x.y", whiten=False), TASK)
    features = encoder.encode(np.array([[3, 3, 3, 5, 5, 0]], np.float32))
    assert features[0, [0, 3, 5]] == pytest.approx([1 / 6, 1 / 2, 1 / 3])
    whitened = make_encoder(ModuleEncoder(target="x.y", dimensions=12), TASK)
    assert whitened.encode(np.zeros((2, 6), np.float32)).shape == (2, 12)


def test_bundled_networks_and_generated_inputs_are_refused() -> None:
    with pytest.raises(ConfigError, match="use model=module"):
        make_network(MLP(), TASK)
    with pytest.raises(ConfigError, match="use own_mix or unlabelled"):
        AnalyticHead(teach=Teach(inputs="generated")).check_task(TASK)
    AnalyticHead().check_task(TASK)
    ClassKd().check_task(TASK)
