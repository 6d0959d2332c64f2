from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qsynth.encoder import make_encoder
from qsynth.encoder.config import SeededConv
from qsynth.packet import class_statistics
from qsynth.pipeline.predictor import MIN_VALIDATION, Predictor, fit_product, harmed
from qsynth.pipeline.teach import build_teachings
from qsynth.synthesis import Head
from qsynth.synthesis.head_rule import Teach
from qsynth.synthesis.lesson import generated, make_pool, own_mix
from qsynth.types import Task

SMALL = SeededConv(dimensions=32, fit_images=300, filters=8)


@pytest.fixture
def predictor(task) -> Predictor:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    made = Predictor(network, make_encoder(SMALL, task), task)
    generator = np.random.default_rng(1)
    head = Head(generator.standard_normal((20, 3)), generator.standard_normal(3))
    made.set_head(head, np.log([0.7, 0.2, 0.1]), 0.4, 0.8)
    return made.eval()


def test_it_answers_with_log_probabilities(predictor) -> None:
    logs = predictor(torch.rand(5, 1, 8, 8))
    np.testing.assert_allclose(logs.exp().sum(dim=1).detach(), 1.0, atol=1e-5)


def test_the_prior_moves_the_answer(predictor) -> None:
    x = torch.rand(50, 1, 8, 8)
    own, uniform = predictor(x), predictor(x, "uniform")
    assert own.exp()[:, 0].mean() > uniform.exp()[:, 0].mean()
    same = predictor(x, torch.tensor([0.7, 0.2, 0.1]))
    torch.testing.assert_close(own, same, atol=1e-4, rtol=1e-4)


def test_a_mask_takes_classes_out(predictor) -> None:
    logs = predictor(torch.rand(5, 1, 8, 8), mask=torch.tensor([True, False, True]))
    assert (logs[:, 1] == -torch.inf).all()
    np.testing.assert_allclose(logs.exp().sum(dim=1).detach(), 1.0, atol=1e-5)


def test_weight_zero_is_the_network_and_one_the_head(predictor) -> None:
    x = torch.rand(40, 1, 8, 8)
    predictor.head_weight.fill_(0.0)
    network = predictor.network(x).argmax(dim=1)
    assert torch.equal(predictor(x).argmax(dim=1), network)
    predictor.head_weight.fill_(1.0)
    scores = predictor.encoder(x) @ predictor.head_weights + predictor.head_bias
    wanted = (scores + predictor.own_log_prior).argmax(dim=1)
    assert torch.equal(predictor(x).argmax(dim=1), wanted)


def test_it_can_be_exported_as_one_graph(predictor) -> None:
    x = torch.rand(4, 1, 8, 8)
    program = torch.export.export(predictor, (x,))
    torch.testing.assert_close(program.module()(x), predictor(x))


def test_the_weight_follows_validation_samples_where_there_are_enough(rng) -> None:
    y = rng.integers(0, 3, 300)
    right, wrong = np.eye(3)[y] * 5, np.eye(3)[rng.integers(0, 3, 300)] * 5
    prior = np.zeros(3)
    assert fit_product(wrong, right, y, prior, None)[0] > 0.9
    assert fit_product(right, wrong, y, prior, None)[0] < 0.1
    assert fit_product(right[:20], wrong[:20], y[:20], prior, None)[0] == 0.5
    assert fit_product(right, wrong, y, prior, 0.3)[0] == 0.3
    assert fit_product(right[:0], wrong[:0], y[:0], prior, None) == (0.5, 1.0)


def test_teaching_inputs_are_in_range_and_labelled_by_the_head(task, rng) -> None:
    own = rng.random((9, 1, 8, 8), np.float32)
    encoder = make_encoder(SMALL, task)
    head = Head(rng.standard_normal((32, 3)), np.zeros(3))
    teach = Teach(pool_size=50, batch_size=16)
    (pool,) = build_teachings([make_pool(teach, head, np.zeros(3), encoder, task, own, None, rng)])
    assert pool.inputs.shape == (50, 1, 8, 8)
    assert pool.inputs.min() >= 0
    assert pool.inputs.max() <= 1
    expected = head.scores(encoder.encode(pool.inputs)).argmax(axis=1)
    assert np.array_equal(pool.targets.argmax(dim=1).numpy(), expected)


def test_nothing_is_taught_where_it_is_turned_off(task, rng) -> None:
    own = rng.random((9, 1, 8, 8), np.float32)
    head, encoder = Head(np.zeros((32, 3)), np.zeros(3)), make_encoder(SMALL, task)
    for teach in (Teach(inputs="none"), Teach(weight=0.0)):
        assert make_pool(teach, head, np.zeros(3), encoder, task, own, None, rng) is None


@pytest.mark.parametrize("layout", ["vector", "image"])
def test_generated_inputs_stay_in_the_range_of_inputs(layout, rng) -> None:
    """What others say of their inputs may be anything that is finite."""
    shape = (16,) if layout == "vector" else (1, 4, 4)
    far = Task("t", 1, ("a", "b", "c"), layout, shape, "", -1.0, 2.0)
    x = 1e6 * rng.standard_normal((90, 16)).astype(np.float32)
    made = generated(class_statistics(x, np.arange(90) % 3, 3), np.log([1 / 3] * 3), 50, far, rng)
    assert made.shape == (50, *shape)
    assert made.min() >= -1.0
    assert made.max() <= 2.0


def test_generated_inputs_have_the_merged_means(task, rng) -> None:
    y = np.arange(600) % 3
    x = np.clip(0.2 + 0.3 * y[:, None] + 0.05 * rng.standard_normal((600, 64)), 0, 1)
    made = generated(class_statistics(x, y, 3), np.log([1 / 3] * 3), 3000, task, rng)
    assert made.shape == (3000, 1, 8, 8)
    levels = made.mean(axis=(1, 2, 3))
    for level in (0.2, 0.5, 0.8):
        assert np.mean(np.abs(levels - level) < 0.08) > 0.25


@pytest.mark.parametrize("layout", ["image", "series", "vector"])
def test_own_mix_serves_every_layout(rng, layout) -> None:
    shape = {"image": (1, 8, 8), "series": (2, 16), "vector": (5,)}[layout]
    task = Task("t", 1, ("a", "b"), layout, shape, "", 0.0, 1.0)
    made = own_mix(rng.random((6, *shape), np.float32), 40, task, rng)
    assert made.shape == (40, *shape)
    assert made.dtype == np.float32
    assert 0 <= made.min() <= made.max() <= 1


def test_a_node_falls_back_only_where_samples_are_sure() -> None:
    rng = np.random.default_rng(0)
    alone = rng.uniform(0.2, 1.0, 200)
    noise = 0.3 * rng.standard_normal(200)
    assert harmed(alone + 0.2 + noise, alone)
    assert not harmed(alone - 0.2 + noise, alone)
    assert not harmed(alone + noise - noise.mean() + 0.01, alone)
    few = MIN_VALIDATION - 1
    assert not harmed(alone[:few] + 1.0, alone[:few])
    assert not harmed(np.zeros(0), np.zeros(0))
