from __future__ import annotations

import numpy as np
import pytest

from qsynth.errors import ConfigError
from qsynth.similarity import cosine, fingerprint, fingerprint_size, split_half
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.similarity.label_histogram import LabelHistogram
from qsynth.similarity.module import OwnMetric
from qsynth.similarity.output_probe import OutputProbe
from qsynth.similarity.sketch_mean import SketchMean

CONFIG = ClassSketch()


def statistics(rng, shift=0.0, n=40, classes=4, d=40):
    counts = np.full(classes, float(n))
    means = np.linspace(-1, 1, classes * d).reshape(classes, d) + shift
    means = means + np.sin(np.arange(classes * d)).reshape(classes, d) * 3
    return counts, (means + rng.standard_normal((classes, d)) / np.sqrt(n)) * n


def test_nodes_of_the_same_data_are_alike_and_a_common_shift_does_not_matter(rng) -> None:
    a = fingerprint(CONFIG, *statistics(rng))
    b = fingerprint(CONFIG, *statistics(rng, shift=5.0))
    assert cosine(a, b) > 0.95
    counts, sums = statistics(rng)
    assert cosine(a, fingerprint(CONFIG, counts, sums[::-1].copy())) < 0.5


def test_all_fingerprints_of_a_task_have_one_length(rng) -> None:
    for d in (4, 31, 32, 200):
        counts, sums = statistics(rng, d=d)
        made = fingerprint(CONFIG, counts, sums)
        assert made.shape == (fingerprint_size(CONFIG, 4),)
        assert made.dtype == np.int8


def test_many_classes_are_projected(rng) -> None:
    counts, sums = statistics(rng, classes=100)
    made = fingerprint(CONFIG, counts, sums)
    assert made.shape == (320,)
    again = fingerprint(CONFIG, *statistics(rng, classes=100))
    assert cosine(made, again) > 0.9


def test_nothing_is_like_nothing() -> None:
    empty = fingerprint(CONFIG, np.zeros(4), np.zeros((4, 40)))
    assert not empty.any()
    assert cosine(empty, empty) == 0.0
    assert cosine(empty, np.zeros(3, np.int8)) == 0.0


def test_split_half_grows_with_samples(rng) -> None:
    def score(n):
        y = np.arange(n) % 4
        x = rng.standard_normal((n, 32)) + np.eye(4)[y] @ rng.standard_normal((4, 32))
        return split_half(CONFIG, x, y, 4, np.random.default_rng(0))

    assert score(800) > score(24)


def test_likeness_looks_at_the_classes_that_both_have(rng) -> None:
    config = ClassSketch(sketch_d=8)
    means = rng.standard_normal((6, 8))

    def having(*classes: int):
        counts = np.isin(np.arange(6), classes) * 9.0
        return fingerprint(config, counts, means * counts[:, None])

    one, other, apart = having(0, 1, 2, 3), having(2, 3, 4, 5), having(4, 5)
    assert config.likeness(one, one) == pytest.approx(1.0)
    assert config.likeness(one, other) > cosine(one, other) + 0.05
    assert config.likeness(one, apart) == 0.0
    projected = ClassSketch(sketch_d=8, fingerprint_dim=16)
    a, b = (fingerprint(projected, np.full(6, 9.0), means * s) for s in (9, -9))
    assert projected.likeness(a, b) == cosine(a, b)


def own_metric(counts, sums):
    return sums.sum(axis=1) / np.maximum(counts, 1.0)


def test_other_metrics_see_what_their_names_say(rng, monkeypatch) -> None:
    import sys
    import types

    counts, sums = statistics(rng)
    other_labels = counts * np.array([1.0, 5.0, 1.0, 0.0])
    histogram = LabelHistogram()
    assert fingerprint(histogram, counts, sums).shape == (4,)
    same = fingerprint(histogram, counts, sums[::-1].copy())
    assert np.array_equal(fingerprint(histogram, counts, sums), same)
    assert cosine(same, fingerprint(histogram, other_labels, sums)) < 0.95
    mean = SketchMean(sketch_d=8)
    assert fingerprint(mean, counts, sums).shape == (8,) == (fingerprint_size(mean, 4),)
    assert np.array_equal(fingerprint(mean, counts, sums), fingerprint(mean, counts, sums[::-1]))
    module = types.ModuleType("own_metrics")
    module.by_class, module.wrong, module.number = own_metric, lambda c, s: s, 5
    monkeypatch.setitem(sys.modules, "own_metrics", module)
    own = OwnMetric(target="own_metrics.by_class")
    assert fingerprint(own, counts, sums).shape == (fingerprint_size(own, 4),) == (4,)
    for target, said in (
        ("own_metrics.wrong", "one vector"),
        ("own_metrics.none", "imported"),
        ("own_metrics.number", "a function"),
        ("", "imported"),
    ):
        with pytest.raises(ConfigError, match=said):
            fingerprint_size(OwnMetric(target=target), 4)


def test_output_probes_are_answered_by_the_nearest_mean(rng) -> None:
    config = OutputProbe(sketch_d=8, probes=16, fingerprint_dim=64)
    counts, sums = statistics(rng)
    got = config.vector(counts, sums).reshape(16, 4)
    assert fingerprint(config, counts, sums).shape == (fingerprint_size(config, 4),) == (64,)
    # The slow twin: each probe by itself.
    means = sums[:, :8] / np.maximum(counts, 1.0)[:, None]
    seen = counts > 0
    means = means - means[seen].mean(axis=0)
    spread = np.sqrt((means[seen] ** 2).mean())
    probes = spread * np.random.default_rng([16, 8]).standard_normal((16, 8))
    for probe, answer in zip(probes, got, strict=True):
        apart = [np.exp(-((probe - m) ** 2).sum() / (2 * spread**2)) for m in means[seen]]
        expected = np.zeros(4)
        expected[seen] = np.array(apart) / sum(apart) - 1 / seen.sum()
        np.testing.assert_allclose(answer, expected, atol=1e-9)
    swapped = fingerprint(config, counts[::-1], sums[::-1])
    assert cosine(fingerprint(config, counts, sums), swapped) < 0.9


@pytest.mark.parametrize("config", [ClassSketch(), SketchMean(), LabelHistogram(), OutputProbe()])
def test_no_support_is_no_fingerprint(config) -> None:
    assert not fingerprint(config, np.zeros(4), np.zeros((4, 16))).any()
    assert config.likeness(*[fingerprint(config, np.zeros(4), np.zeros((4, 16)))] * 2) == 0.0
