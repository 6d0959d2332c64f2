"""The Gaussian mechanism: what one record changes, how large the noise is, what is made of it."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.privacy import mechanism
from qsynth.privacy.dp import CLASSES, JOINT, MOMENTS
from qsynth.privacy.mechanism import (
    ClassMoments,
    Moments,
    Space,
    clipped,
    likely_classes,
    likely_joint,
    noisy_classes,
    noisy_moments,
    steadied,
)
from qsynth.privacy.noise import Noise, simulated_key

D, C = 6, 3


class Silent(Noise):
    """No noise: what is released is exact but for the grid."""

    def __init__(self) -> None:
        pass

    def normal(self, *shape: int):
        return np.zeros(shape)


def noise(number: int = 0) -> Noise:
    return Noise(simulated_key("test"), number.to_bytes(4, "big"))


def records(rng, n: int = 40, far: float = 1.0):
    labels = np.arange(n) % C
    x = rng.standard_normal((n, D)) * far + np.eye(D)[labels] * 2.0
    return clipped(x.astype(np.float32), 3.0), labels


def weighed(views, labels, shape) -> np.ndarray:
    """All that is released of records, each number times its weight: the slow twin."""
    first = noisy_moments(views, 1e-9, MOMENTS, Silent())
    counts, sums, second = noisy_classes(
        views, labels, C, Space.of(*shape), 1e-9, CLASSES, Silent()
    )
    upper = [(i, j) for i in range(D) for j in range(i, D)]
    pairs, more = (
        [square[i, j] * (1.0 if i == j else np.sqrt(2.0)) for i, j in upper]
        for square in (first.second, second)
    )
    return np.concatenate(
        [
            [MOMENTS[0] * first.count],
            MOMENTS[1] * first.sum,
            MOMENTS[2] * np.array(pairs),
            CLASSES[0] * counts,
            CLASSES[1] * sums.ravel(),
            CLASSES[2] * np.array(more),
        ]
    )


@pytest.mark.parametrize("far", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("copies", [1, 2])
def test_one_record_changes_what_is_released_by_one_at_most(rng, far, copies) -> None:
    assert np.hypot.reduce([*MOMENTS, *CLASSES]) <= 1.0
    assert np.hypot.reduce(JOINT) <= 1.0
    most = 0.0
    for _ in range(30):
        x, labels = records(rng, far=far)
        views = [x, -x][:copies]
        shape = (rng.standard_normal(D) * 0.2, np.diag(rng.uniform(0.001, 1.0, D)))
        whole = weighed(views, labels, shape)
        out = rng.integers(len(x))
        kept = np.arange(len(x)) != out
        less = weighed([v[kept] for v in views], labels[kept], shape)
        most = max(most, float(np.linalg.norm(whole - less)))
    assert most <= 1.0 + 1e-6
    assert most > 0.5 or far < 1.0  # it is not safe by being far too careful


def test_noise_is_as_large_as_the_weights_say_and_symmetric() -> None:
    x, labels = np.zeros((4, D)), np.zeros(4, np.int64)
    made = [noisy_moments([x], 2.0, MOMENTS, noise(n)) for n in range(400)]
    shape = (np.zeros(D), np.eye(D))
    space = Space.of(*shape)
    classes = [noisy_classes([x], labels, C, space, 2.0, CLASSES, noise(n)) for n in range(400)]
    second = np.stack([m.second for m in made])
    np.testing.assert_array_equal(second, second.transpose(0, 2, 1))
    diagonal = second[:, np.arange(D), np.arange(D)]
    beside = second[:, 0, 1:]
    for values, expected in (
        (np.array([m.count for m in made]) - 4.0, 2.0 / MOMENTS[0]),
        (np.stack([m.sum for m in made]), 2.0 / MOMENTS[1]),
        (diagonal, 2.0 / MOMENTS[2]),
        (beside, 2.0 / MOMENTS[2] / np.sqrt(2.0)),
        (np.stack([counts for counts, _, _ in classes])[:, 1:], 2.0 / CLASSES[0]),
        (np.stack([sums for _, sums, _ in classes]), 2.0 / CLASSES[1]),
        (np.stack([np.diag(square) for _, _, square in classes]), 2.0 / CLASSES[2]),
    ):
        assert np.std(values) == pytest.approx(expected, rel=0.12)
        assert abs(np.mean(values)) < 0.2 * expected
    told = ClassMoments.of(made[0], space, classes[0], 2.0, CLASSES)
    assert np.sqrt(told.on_sum[0, 0]) == pytest.approx(
        2.0 / CLASSES[1] * mechanism.ROOM * np.sqrt(D)
    )


def both_steps(x, labels, multiplier: float, moments: Moments, stream: Noise) -> ClassMoments:
    """Return what a release of records says, given its first step."""
    space = Space.of(*moments.centred())
    released = noisy_classes([x], labels, C, space, multiplier, CLASSES, stream)
    return ClassMoments.of(moments, space, released, multiplier, CLASSES)


def test_who_takes_records_out_has_what_the_others_have_alone(rng) -> None:
    """A sum of two, less the one, in the space of both: the statistics of the other."""
    x, labels = records(rng, 900)
    ours = np.arange(900) < 300
    space = Space.of(*noisy_moments([x], 1e-9, MOMENTS, Silent()).centred())
    first = [noisy_moments([x[part]], 1e-9, MOMENTS, Silent()) for part in (ours | True, ours)]
    left = Moments(
        first[0].count - first[1].count,
        first[0].sum - first[1].sum,
        first[0].second - first[1].second,
        (1e-9, 1e-9, 1e-9),
    )
    pair = [
        noisy_classes([x[p]], labels[p], C, space, 1e-9, CLASSES, Silent())
        for p in (ours | True, ours)
    ]
    released = tuple(a - b for a, b in zip(*pair, strict=True))
    told = ClassMoments.of(left, space, released, 1e-9, CLASSES)
    made = likely_classes(told, 5)
    theirs, names = x[~ours], labels[~ours]
    exact = np.stack([theirs[names == c].mean(axis=0) for c in range(C)])
    np.testing.assert_array_equal(made.counts, [200.0] * C)
    np.testing.assert_allclose(made.means(), exact, atol=0.02)


def test_noise_follows_from_key_and_context_and_from_nothing_else() -> None:
    one = noise(1).normal(1000)
    assert np.array_equal(one, noise(1).normal(1000))
    assert not np.isin(noise(2).normal(1000), one).any()
    assert not np.isin(Noise(simulated_key("other"), bytes(4)).normal(1000), one).any()
    stream = noise(3)
    both = np.concatenate([stream.normal(3, 5).ravel(), stream.normal(85)])
    assert np.array_equal(both, noise(3).normal(100))  # no number is used twice
    assert abs(one.mean()) < 0.1
    assert one.std() == pytest.approx(1.0, abs=0.1)
    assert np.isfinite(noise(4).normal(10_000)).all()


def test_without_noise_statistics_are_those_of_the_records(rng) -> None:
    x, labels = records(rng, 600)
    moments = noisy_moments([x], 1e-6, MOMENTS, noise())
    made = likely_classes(both_steps(x, labels, 1e-6, moments, noise(1)), 5)
    np.testing.assert_array_equal(made.counts, [200.0] * C)
    exact = np.stack([x[labels == c].mean(axis=0) for c in range(C)])
    # The second step cuts the few records that are far from all others.
    np.testing.assert_allclose(made.means(), exact, atol=0.02)
    centred = x - exact[labels]
    np.testing.assert_allclose(made.scatter / 600, centred.T @ centred / 600, atol=0.01)


def test_a_noisier_mean_counts_fewer_samples_and_a_class_of_none_is_not_told(rng) -> None:
    x, labels = records(rng, 300)
    labels = np.where(labels == 2, 1, labels)  # nobody has the third class
    supports = []
    for multiplier in (0.01, 0.5, 2.0):
        moments = noisy_moments([x], multiplier, MOMENTS, noise())
        made = likely_classes(both_steps(x, labels, multiplier, moments, noise(1)), 5)
        assert np.linalg.eigvalsh(made.scatter)[0] >= 0.0
        assert made.counts[2] <= 2.0
        supports.append(made.counts[0])
    assert supports[0] > supports[1] > supports[2]


def test_a_mean_is_as_far_off_as_its_samples_and_scatter_say(rng) -> None:
    """Over many releases: the error of a mean, beside scatter / counts^2 as a receiver reads it."""
    x, labels = records(rng, 300)
    exact = np.stack([x[labels == c].mean(axis=0) for c in range(C)])
    errors, said = [], []
    for number in range(200):
        stream = noise(number)
        moments = noisy_moments([x], 1.0, MOMENTS, stream)
        made = likely_classes(both_steps(x, labels, 1.0, moments, stream), 5)
        here = made.counts > 0
        errors.append(np.square(made.means() - exact)[here].sum(axis=1))
        said.append((np.trace(made.scatter) / made.counts.sum() / made.counts)[here])
    noise_alone = np.concatenate(errors).mean()
    claimed = np.concatenate(said).mean()
    assert 0.5 * noise_alone < claimed < 4.0 * noise_alone


def test_directions_of_noise_alone_are_flattened_and_a_strong_one_stays() -> None:
    direction = np.ones(20) / np.sqrt(20.0)
    scatter = 400.0 * np.outer(direction, direction) + 10.0 * np.eye(20)
    square = noise().normal(20, 20) * 4.0
    upper = np.triu(square, 1) / np.sqrt(2.0)
    noisy = scatter + upper + upper.T + np.diag(np.diag(square))
    made = steadied(noisy, 4.0)
    values, vectors = np.linalg.eigh(made)
    assert abs(vectors[:, -1] @ direction) > 0.99
    assert values[:-1].max() - values[:-1].min() < 1e-6
    assert np.linalg.norm(made - scatter) < np.linalg.norm(noisy - scatter)
    assert (np.linalg.eigvalsh(steadied(np.zeros((5, 5)) - 3.0 * np.eye(5), 1.0)) > 0.0).all()


def test_too_few_records_say_nothing(rng) -> None:
    x, labels = records(rng, 3)
    moments = noisy_moments([x], 1e-6, MOMENTS, noise())
    assert not likely_classes(both_steps(x, labels, 1e-6, moments, noise(1)), 5).counts.any()
    assert not likely_joint(moments, 5, 1).counts.any()


def test_joint_statistics_without_noise_are_those_of_the_records(rng) -> None:
    x, _ = records(rng, 500)
    made = likely_joint(noisy_moments([x], 1e-6, JOINT, noise()), 5, 1)
    assert made.counts.tolist() == [500.0]
    np.testing.assert_allclose(made.means()[0], x.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(made.scatter / 500, np.cov(x.T, bias=True), atol=1e-3)


def test_moments_of_noise_alone_break_nothing() -> None:
    for number in range(20):
        moments = noisy_moments([np.zeros((6, D))], 50.0, MOMENTS, noise(number))
        assert isinstance(moments, Moments)
        told = both_steps(np.zeros((6, D)), np.arange(6) % C, 50.0, moments, noise(number))
        made = likely_classes(told, 1)
        assert np.isfinite(made.sums).all()
        assert np.isfinite(made.scatter).all()
        assert (made.counts >= 0.0).all()
