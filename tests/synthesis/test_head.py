from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsynth.packet import Statistics, class_statistics, merge
from qsynth.pipeline.predictor import fit_product
from qsynth.synthesis import analytic_head, lift
from qsynth.synthesis.analytic_head import AnalyticHead, synthesize
from qsynth.synthesis.head import log_prior, log_softmax, sample_weights, solve
from qsynth.synthesis.lift import lifted
from qsynth.synthesis.own_evidence import OwnEvidence

MEANS = np.random.default_rng(7).standard_normal((4, 12)) * 1.2


def samples(seed: int, n: int = 80, means=MEANS):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % len(means)
    return (means[y] + rng.standard_normal((n, means.shape[1]))).astype(np.float32), y


def accuracy(head, seed=99) -> float:
    x, y = samples(seed, 2000)
    return float((head.scores(x).argmax(axis=1) == y).mean())


def peers(*seeds, means=MEANS, n=80):
    return {bytes([s]): class_statistics(*samples(s, n, means), 4) for s in seeds}


def own(n=24) -> OwnEvidence:
    x, y = samples(0, n)
    return OwnEvidence.from_samples(x, y, 4, 0)


def test_the_head_is_the_linear_discriminant_of_its_definition() -> None:
    x, y = samples(1, 400)
    got = solve(class_statistics(x, y, 4), 0.3)
    mu = np.stack([(x[y == c].sum(axis=0) + x.mean(axis=0)) / (101) for c in range(4)])
    centred = x - np.stack([x[y == c].mean(axis=0) for c in range(4)])[y]
    s = centred.T.astype(float) @ centred / (400 - 4)
    target = np.diag((np.diag(s) + np.trace(s) / 12) / 2)
    slow = np.linalg.inv(0.7 * s + 0.3 * target) @ mu.T
    np.testing.assert_allclose(got.weights, slow, rtol=1e-4)
    np.testing.assert_allclose(got.bias, -0.5 * np.sum(mu.T * slow, axis=0), rtol=1e-4)


def test_unseen_classes_are_masked_and_no_data_is_no_crash() -> None:
    x, y = samples(1)
    for far in (0.0, 50.0):  # from the origin, where all scores are far below 0
        x = x + np.float32(far)
        head = solve(class_statistics(x, np.minimum(y, 2), 4), 0.5)
        for temperature in (0.05, 1.0, 2.0):
            scores = head.tempered(temperature).scores(x)
            assert (scores[:, 3] < scores[:, :3].max(axis=1) - 20.0).all()
    empty = solve(class_statistics(x[:0], y[:0], 4), 0.5)
    assert np.isfinite(empty.scores(x)).all()


def test_peers_of_the_same_data_help() -> None:
    alone = synthesize(AnalyticHead(), own(), 12, {})
    together = synthesize(AnalyticHead(), own(), 12, peers(1, 2, 3))
    assert accuracy(together.head) > accuracy(alone.head) + 0.02
    assert together.likelihood > alone.likelihood


def test_the_gate_keeps_poison_out_and_no_gate_lets_it_in() -> None:
    poison = {bytes([9]): class_statistics(*samples(9, 400, MEANS[::-1]), 4)}
    gated = synthesize(AnalyticHead(gate="greedy"), own(), 12, poison | peers(1, 2))
    assert bytes([9]) not in gated.authors
    assert len(gated.authors) > 0
    open_ = synthesize(AnalyticHead(gate="none"), own(), 12, poison | peers(1, 2))
    assert open_.authors == (bytes([1]), bytes([2]), bytes([9]))
    assert accuracy(gated.head) > accuracy(open_.head) + 0.1


@pytest.mark.parametrize("gate", ["greedy", "none"])
def test_the_packet_loss_says_who_counts_where_not_all_may(gate) -> None:
    others = peers(1, 2, 3) | {bytes([9]): class_statistics(*samples(9, 80, MEANS[::-1].copy()), 4)}
    every = synthesize(AnalyticHead(gate="none"), own(), 12, others)
    few = synthesize(AnalyticHead(gate=gate, most=2), own(), 12, others)
    assert len(every.authors) == 4
    assert len(few.authors) == 2
    assert bytes([9]) not in few.authors
    singly = {
        author: synthesize(AnalyticHead(gate="none"), own(), 12, {author: packet}).likelihood
        for author, packet in others.items()
    }
    if gate == "none":
        assert min(singly, key=lambda author: singly[author]) == bytes([9])


def test_forgetting_an_author_is_never_having_had_them() -> None:
    config = AnalyticHead(gate="none")
    synthesize(config, own(), 12, peers(1, 2, 3))
    forgot = synthesize(config, own(), 12, {k: v for k, v in peers(1, 2, 3).items() if k != b"\2"})
    never = synthesize(config, own(), 12, peers(1, 3))
    assert np.array_equal(forgot.head.weights, never.head.weights)
    assert np.array_equal(forgot.head.bias, never.head.bias)


def test_the_order_of_arrival_does_not_matter_bit_for_bit() -> None:
    config, given = AnalyticHead(gate="none"), peers(1, 2, 3, 4)
    turned = dict(reversed(given.items()))
    a, b = synthesize(config, own(), 12, given), synthesize(config, own(), 12, turned)
    assert np.array_equal(a.head.weights, b.head.weights)


def test_a_packet_of_fewer_features_teaches_all_of_them() -> None:
    narrow = {key: value.prefix(6) for key, value in peers(1, 2, 3).items()}
    made = synthesize(AnalyticHead(gate="none"), own(), 12, narrow)
    assert made.head.dimensions == 12
    alone = synthesize(AnalyticHead(), own(), 12, {})
    assert accuracy(made.head) > accuracy(alone.head)


def test_lifting_is_the_conditional_mean_of_a_gaussian_seen_in_part() -> None:
    x, y = samples(0, 400)
    mine, packet = class_statistics(x, y, 4), class_statistics(*samples(1, 80), 4)
    made = lifted(packet.prefix(5), mine)
    covariance, grand = lift._covariance(mine), x.astype(float).mean(axis=0)
    for c in range(4):
        seen = packet.means()[c, :5] - grand[:5]
        slow = grand[5:] + covariance[5:, :5] @ np.linalg.inv(covariance[:5, :5]) @ seen
        np.testing.assert_allclose(made.means()[c, 5:], slow, rtol=1e-5)
    np.testing.assert_array_equal(made.means()[:, :5], packet.means()[:, :5])
    np.testing.assert_array_equal(made.scatter[:5, :5], packet.scatter[:5, :5])
    assert np.linalg.eigvalsh(made.scatter).min() > -1e-6


def test_means_alone_are_merged_with_ones_own_scatter() -> None:
    told = {key: Statistics(s.counts, s.sums, np.zeros((12, 12))) for key, s in peers(1, 2).items()}
    made = synthesize(AnalyticHead(gate="none"), own(), 12, told)
    alone = synthesize(AnalyticHead(), own(), 12, {})
    assert accuracy(made.head) > accuracy(alone.head)


def test_folds_are_disjoint_and_hold_everything() -> None:
    evidence = own(23)
    both = np.concatenate(evidence.folds)
    assert sorted(both) == list(range(23))
    assert abs(len(evidence.folds[0]) - len(evidence.folds[1])) <= 1


@pytest.mark.parametrize("n", [4, 5, 8])
def test_very_few_samples_are_no_crash(n) -> None:
    made = synthesize(AnalyticHead(), own(n), 12, peers(1))
    assert np.isfinite(made.head.weights).all()


def test_priors_and_softmax() -> None:
    prior = log_prior(np.array([9.0, 0.0, 1.0]))
    assert np.exp(prior).sum() == pytest.approx(1.0)
    logs = log_softmax(np.array([[1e4, 0.0, -1e4]]))
    assert np.exp(logs).sum() == pytest.approx(1.0)


def test_merge_is_what_the_head_sees(monkeypatch) -> None:
    monkeypatch.setattr(analytic_head, "SHRINKAGES", (0.5,))
    evidence, given = own(), peers(1, 2)
    made = synthesize(AnalyticHead(gate="none"), evidence, 12, given)
    whole = merge([evidence.statistics(12), given[b"\1"], given[b"\2"]])
    twin = solve(whole, 0.5)
    scale = np.linalg.norm(made.head.weights) / np.linalg.norm(twin.weights)  # its temperature
    np.testing.assert_allclose(made.head.weights, twin.weights * scale)


def test_under_the_balanced_objective_every_class_weighs_alike() -> None:
    labels = np.array([0] * 8 + [1] * 2)
    alike = sample_weights(labels, balanced=False)
    each = sample_weights(labels, balanced=True)
    assert alike.tolist() == [0.1] * 10
    assert each[labels == 0].sum() == pytest.approx(0.5)
    assert each[labels == 1].sum() == pytest.approx(0.5)
    assert sample_weights(labels[:0], balanced=True).shape == (0,)


def test_the_balanced_gate_keeps_who_knows_the_rare_class() -> None:
    """A peer that knows the rare class well and blurs the common one a little."""
    rng = np.random.default_rng(4)
    y = np.array([0] * 190 + [1] * 10)
    x = (MEANS[y] + 2.5 * rng.standard_normal((200, MEANS.shape[1]))).astype(np.float32)
    mine = OwnEvidence.from_samples(x, y, 2, 0)
    py = np.array([0] * 20 + [1] * 80)
    px = MEANS[py] + 2.5 * rng.standard_normal((100, MEANS.shape[1]))
    packets = {b"p": class_statistics(px.astype(np.float32), py, 2)}
    config = AnalyticHead(objective="balanced")
    kept = synthesize(config, mine, 12, packets, {b"p": 1.0})
    assert kept.authors == (b"p",)
    # The likelihood is that of a fair draw of classes: a coin's entropy when nothing is known.
    blind = synthesize(config, replace(mine, features=np.zeros_like(x)), 12, {})
    assert blind.likelihood == pytest.approx(-np.log(2), abs=1e-6)
    np.testing.assert_allclose(kept.log_prior, log_prior(np.array([190.0, 10.0])))


def test_a_balanced_weight_needs_enough_of_each_class() -> None:
    rng = np.random.default_rng(6)
    labels = (np.arange(400) < 5).astype(np.int64)
    sharp = 6.0 * np.eye(2)[labels] + rng.standard_normal((400, 2))
    noise = rng.standard_normal((400, 2))
    zeros = np.zeros(2)
    assert fit_product(noise, sharp, labels, zeros, None, zeros, balanced=True)[0] == 0.5
    labels = (np.arange(400) < 40).astype(np.int64)
    sharp = 6.0 * np.eye(2)[labels] + rng.standard_normal((400, 2))
    assert fit_product(noise, sharp, labels, zeros, None, zeros, balanced=True)[0] > 0.8


def sites(seed: int, n: int):
    """Six classes that differ a little in each of sixty features."""
    means = np.random.default_rng(1).standard_normal((6, 60)) * 0.35
    return samples(seed, n, means)


def without_scatter(seed: int, first: int | None = None) -> Statistics:
    """Means of sixty samples alone; from a feature on, those of the class before."""
    told = class_statistics(*sites(seed, 60), 6)
    sums = told.sums.copy()
    if first is not None:
        sums[:, first:] = np.roll(told.sums, 1, axis=0)[:, first:]
    return Statistics(told.counts, sums, np.zeros_like(told.scatter))


@pytest.mark.parametrize("seed", range(6))
def test_a_lie_without_a_scatter_is_not_filled_in_by_those_who_judge_it(seed) -> None:
    x, y = sites(100 + seed, 60)
    evidence = OwnEvidence.from_samples(x, y, 6, 0)
    lies = {bytes([i]): without_scatter(10 * seed + i, first=10) for i in range(3)}
    honest = {bytes([9 + i]): without_scatter(5000 + 10 * seed + i) for i in range(3)}
    alike = dict.fromkeys([*lies, *honest], 1.0)
    assert synthesize(AnalyticHead(), evidence, 60, lies, alike).authors == ()
    both = synthesize(AnalyticHead(), evidence, 60, lies | honest, alike)
    assert set(both.authors) == set(honest)


class Clock:
    """CPU time that passes as a test says."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.mark.parametrize("step", [0.0, 0.03, 0.2, 5.0])
def test_the_gate_keeps_the_best_so_far_when_its_time_is_over(monkeypatch, step) -> None:
    many = peers(*range(1, 20))
    every = synthesize(AnalyticHead(), own(), 12, many)
    assert every.unasked == 0
    monkeypatch.setattr("qsynth.synthesis.gate.time.thread_time", Clock(step))
    likeness = {author: 1.0 - author[0] / 100 for author in many}
    made = synthesize(AnalyticHead(gate_s=1.0), own(), 12, many, likeness)
    assert len(made.gains) + made.unasked == len(many)
    assert set(made.authors) <= set(made.gains)
    alone = synthesize(AnalyticHead(), own(), 12, {})
    assert made.likelihood >= alone.likelihood - 0.05
    if step == 0.0:
        assert made.unasked == 0
    else:
        assert len(made.gains) < len(many)
    if step == 0.2:  # those are ranked first that are most alike
        assert made.gains
        assert set(made.gains) <= set(sorted(many)[:3])
    if step == 5.0:
        assert made.authors == ()
        assert np.array_equal(made.head.weights, alone.head.weights)
