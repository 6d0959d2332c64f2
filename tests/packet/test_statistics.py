from __future__ import annotations

import numpy as np
import pytest

from qsynth.errors import ShapeError
from qsynth.packet import class_statistics, merge, restricted


def samples(rng, n=60, d=5, classes=3):
    y = rng.integers(0, classes, n)
    return rng.standard_normal((n, d)) + y[:, None], y


def test_statistics_are_those_of_the_definition(rng) -> None:
    x, y = samples(rng)
    s = class_statistics(x, y, 4)
    for c in range(3):
        assert s.counts[c] == (y == c).sum()
        np.testing.assert_allclose(s.sums[c], x[y == c].sum(axis=0))
    slow = sum(np.outer(r, r) for c in range(3) for r in x[y == c] - x[y == c].mean(axis=0))
    np.testing.assert_allclose(s.scatter, slow, atol=1e-9)
    assert s.counts[3] == 0


def test_merging_parts_equals_pooling_the_data(rng) -> None:
    x, y = samples(rng, 90)
    parts = [class_statistics(x[i::3], y[i::3], 3) for i in range(3)]
    whole, pooled = merge(parts), class_statistics(x, y, 3)
    np.testing.assert_allclose(whole.counts, pooled.counts)
    np.testing.assert_allclose(whole.sums, pooled.sums, atol=1e-9)
    np.testing.assert_allclose(whole.scatter, pooled.scatter, atol=1e-8)


def test_a_part_has_the_counts_and_sums_of_its_classes_and_its_share_of_the_scatter(rng) -> None:
    x, y = samples(rng, 90)
    whole = class_statistics(x, y, 3)
    part = restricted(whole, np.array([True, False, True]))
    assert part.counts.tolist() == [whole.counts[0], 0, whole.counts[2]]
    np.testing.assert_array_equal(part.sums[[0, 2]], whole.sums[[0, 2]])
    assert not part.sums[1].any()
    np.testing.assert_allclose(part.scatter, whole.scatter * part.counts.sum() / 90)


def test_each_view_of_a_sample_counts_its_share(rng) -> None:
    x, y = samples(rng, 40)
    views = np.concatenate([x, x + 1.0])
    made = class_statistics(views, np.tile(y, 2), 3, views=2)
    np.testing.assert_allclose(made.counts, np.bincount(y, minlength=3))
    np.testing.assert_allclose(made.means(), class_statistics(x + 0.5, y, 3).means(), rtol=1e-6)


def test_parts_of_different_d_merge_at_the_smallest(rng) -> None:
    x, y = samples(rng, 60, d=6)
    a, b = class_statistics(x[:30], y[:30], 3), class_statistics(x[30:, :4], y[30:], 3)
    whole = merge([a, b])
    np.testing.assert_allclose(whole.scatter, class_statistics(x[:, :4], y, 3).scatter, atol=1e-8)


def test_merging_nothing_is_an_error() -> None:
    with pytest.raises(ShapeError):
        merge([])
