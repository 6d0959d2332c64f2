from __future__ import annotations

import numpy as np
import pytest

from qsynth.errors import ShapeError
from qsynth.packet import class_statistics, merge, without


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


def test_taking_samples_out_equals_never_having_had_them(rng) -> None:
    x, y = samples(rng, 80)
    whole = class_statistics(x, y, 3)
    left = without(whole, x[:30], y[:30])
    np.testing.assert_allclose(left.scatter, class_statistics(x[30:], y[30:], 3).scatter, atol=1e-8)


def test_parts_of_different_d_merge_at_the_smallest(rng) -> None:
    x, y = samples(rng, 60, d=6)
    a, b = class_statistics(x[:30], y[:30], 3), class_statistics(x[30:, :4], y[30:], 3)
    whole = merge([a, b])
    np.testing.assert_allclose(whole.scatter, class_statistics(x[:, :4], y, 3).scatter, atol=1e-8)


def test_merging_nothing_is_an_error() -> None:
    with pytest.raises(ShapeError):
        merge([])
