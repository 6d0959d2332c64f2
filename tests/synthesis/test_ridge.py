"""Ridge regression from statistics: the slow twin, the gate, and its predictor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from qsynth.packet import joint_statistics
from qsynth.pipeline.target_predictor import fit_mean, make_predictor
from qsynth.synthesis.own_evidence import TargetEvidence
from qsynth.synthesis.ridge import Ridge, solve_targets, synthesize_targets
from qsynth.types import LABELS, VALUES, Task

WEIGHTS = np.random.default_rng(8).standard_normal((12, 2))


def node(seed, n=24, flipped=False, d=12):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    y = x @ WEIGHTS * (-1 if flipped else 1) + 0.5 + 0.8 * rng.standard_normal((n, 2))
    return x, y.astype(np.float32)


@pytest.mark.parametrize("shrinkage", [0.01, 0.3, 3.0])
def test_the_solution_is_that_of_the_slow_twin(shrinkage) -> None:
    x, y = node(0, 60)
    head = solve_targets(joint_statistics(x, y), 2, shrinkage)
    centred = x - x.mean(axis=0)
    own = np.square(centred).mean(axis=0)
    target = np.sqrt(shrinkage * len(x) * (own + own.mean()) / 2)
    # Ridge by least squares: a row of zeros for each feature, weighed by its penalty.
    rows = np.concatenate([centred, np.diag(target)])
    right = np.concatenate([y - y.mean(axis=0), np.zeros((12, 2))])
    twin, *_ = np.linalg.lstsq(rows, right, rcond=None)
    np.testing.assert_allclose(head.weights, twin, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(head.bias, y.mean(axis=0) - x.mean(axis=0) @ twin, atol=1e-4)


def explained(head, x, y):
    return 1 - np.square(head.scores(x) - y).mean() / y.var()


def test_like_peers_help_and_unlike_ones_stay_outside() -> None:
    own = TargetEvidence.from_samples(*node(0), seed=0)
    packets = {bytes([s]): joint_statistics(*node(s)) for s in (1, 2, 3)}
    packets |= {bytes([s]): joint_statistics(*node(s, flipped=True)) for s in (4, 5)}
    test = node(99, 2000)
    alone = synthesize_targets(Ridge(), own, 12, {})
    made = synthesize_targets(Ridge(), own, 12, packets)
    assert made.authors == (b"\x01", b"\x02", b"\x03")
    assert explained(made.head, *test) > explained(alone.head, *test) + 0.02
    ungated = synthesize_targets(Ridge(gate="none"), own, 12, packets)
    assert explained(ungated.head, *test) < explained(alone.head, *test)


def test_the_order_of_packets_changes_no_bit_and_removal_is_exact() -> None:
    own = TargetEvidence.from_samples(*node(0), seed=0)
    packets = {bytes([s]): joint_statistics(*node(s)) for s in (1, 2, 3)}
    one = synthesize_targets(Ridge(), own, 12, packets)
    other = synthesize_targets(Ridge(), own, 12, dict(reversed(packets.items())))
    assert np.array_equal(one.head.weights, other.head.weights)
    without = synthesize_targets(Ridge(), own, 12, {k: packets[k] for k in (b"\x01", b"\x02")})
    forgotten = {k: v for k, v in packets.items() if k != b"\x03"}
    again = synthesize_targets(Ridge(), own, 12, forgotten)
    assert np.array_equal(without.head.weights, again.head.weights)


def test_fewer_features_are_filled_in() -> None:
    own = TargetEvidence.from_samples(*node(0), seed=0)
    x, y = node(1, 400)
    made = synthesize_targets(Ridge(gate="none"), own, 12, {b"\x01": joint_statistics(x[:, :8], y)})
    assert made.head.dimensions == 12
    assert np.isfinite(made.head.weights).all()


def test_folds_hold_every_sample_once() -> None:
    own = TargetEvidence.from_samples(*node(0, 25), seed=3)
    assert sorted(np.concatenate(own.folds)) == list(range(25))
    assert abs(own.targets[own.folds[0], 0].mean() - own.targets[own.folds[1], 0].mean()) < 0.5


class Fixed(nn.Module):
    def forward(self, inputs):
        return inputs[:, :2]


def task(kind):
    return Task(
        "t",
        1,
        ("a", "b"),
        "vector",
        (3,),
        "",
        -1.0,
        1.0,
        kind=kind,
        target_location=(10.0, 20.0) if kind == VALUES else (),
        target_scale=(2.0, 4.0) if kind == VALUES else (),
    )


def test_values_come_in_the_units_of_the_task() -> None:
    predictor = make_predictor(Fixed(), None, task(VALUES))
    answers = predictor(torch.tensor([[1.0, -1.0, 0.0]]))
    assert answers.tolist() == [[12.0, 16.0]]


def test_labels_come_as_probabilities() -> None:
    predictor = make_predictor(Fixed(), None, task(LABELS))
    predictor.head_weight.fill_(0.5)
    answers = predictor.combine(torch.tensor([[0.0, 9.0]]), torch.tensor([[1.7, -0.3]]), "own")
    np.testing.assert_allclose(answers.numpy(), [[0.75, 0.5]], atol=1e-3)


@pytest.mark.parametrize("labels", [True, False])
def test_the_weight_goes_to_who_is_right(labels) -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((80, 2)) > 0.5).astype(np.float64)
    good, bad = (y - 0.5) * 8 if labels else y, rng.standard_normal((80, 2))
    assert fit_mean(good, np.full_like(y, 0.5), y, labels, None) < 0.3
    assert fit_mean(bad, y, y, labels, None) > 0.8
    assert fit_mean(good, bad, y, labels, 0.25) == 0.25
    assert fit_mean(good[:20], bad[:20], y[:20], labels, None) == 0.5
