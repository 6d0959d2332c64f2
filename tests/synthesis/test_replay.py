"""Replay: received images in the proportions of one's own labels, and the head they make."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.distill import Evidence
from qsynth.distill.mosaic import Images
from qsynth.encoder import make_encoder
from qsynth.encoder.config import SeededConv
from qsynth.packet import class_statistics
from qsynth.recipe.compose import compose
from qsynth.synthesis.head import Head, log_softmax
from qsynth.synthesis.replay import (
    ReplayLessonOptions,
    image_statistics,
    image_statistics_of,
    images_of,
    replay_lesson,
)
from qsynth.types import Task

TASK = Task("t", 1, ("a", "b", "c"), "image", (1, 8, 8), "", -1.0, 1.0)


@pytest.fixture(scope="module")
def encoder():
    return make_encoder(SeededConv(dimensions=12, filters=8, fit_images=300), TASK)


def received(rng, labels):
    return (rng.uniform(-1, 1, (len(labels), 1, 8, 8)).astype(np.float32), np.array(labels))


@pytest.mark.parametrize("kind", ["hard", "head"])
def test_labels_follow_ones_own_shares(rng, encoder, kind) -> None:
    images = [received(rng, [0] * 40 + [1] * 4), received(rng, [1] * 5 + [2] * 30)]
    head = Head(rng.standard_normal((12, 3)), np.zeros(3))
    prior = np.log(np.array([0.2, 0.7, 0.1]))
    config = ReplayLessonOptions(pool_size=3000, labels=kind)
    lesson = replay_lesson(config, images, head, prior, encoder, TASK, rng)
    assert lesson is not None
    assert lesson.inputs.shape == (3000, 1, 8, 8)
    assert -1.0 <= float(lesson.inputs.min()) <= float(lesson.inputs.max()) <= 1.0
    targets = lesson.targets
    if kind == "hard":
        assert set(np.unique(targets)) == {0.0, 1.0}
        np.testing.assert_allclose(targets.mean(axis=0), np.exp(prior), atol=0.03)
    else:
        features = encoder.encode(lesson.inputs, 12)
        np.testing.assert_allclose(
            targets, np.exp(log_softmax(head.scores(features) + prior)), atol=1e-5
        )


def test_nobody_or_no_weight_is_no_lesson(rng, encoder) -> None:
    head, prior = Head(np.zeros((12, 3)), np.zeros(3)), np.zeros(3)
    assert replay_lesson(ReplayLessonOptions(), [], head, prior, encoder, TASK, rng) is None
    images = [received(rng, [0, 1])]
    assert (
        replay_lesson(ReplayLessonOptions(weight=0.0), images, head, prior, encoder, TASK, rng)
        is None
    )


def test_statistics_of_images_are_their_class_sums(rng) -> None:
    features, labels = rng.standard_normal((20, 6)).astype(np.float32), np.arange(20) % 3
    got, twin = image_statistics(features, labels, 4), class_statistics(features, labels, 4)
    np.testing.assert_allclose(got.sums, twin.sums, rtol=1e-6)
    np.testing.assert_allclose(got.counts, twin.counts)
    assert not got.scatter.any()


def test_images_of_another_size_are_left_aside(rng, encoder) -> None:
    unit = rng.random((5, 1, 8, 8)).astype(np.float32)
    labels = np.array([0, 1, 2, 0, 1])
    features = class_statistics(np.zeros((5, 4), np.float32), labels, 3)
    packets = {
        b"a": Evidence(features, told=Images(unit, labels)),
        b"b": Evidence(features, told=Images(unit[:, :, :7], labels)),
        b"c": Evidence(features),
    }
    images = images_of(packets, TASK)
    assert list(images) == [b"a"]
    np.testing.assert_allclose(images[b"a"][0], 2 * unit - 1, rtol=1e-5, atol=1e-6)
    assert image_statistics_of(packets, TASK, encoder, 8)[b"a"].sums.shape == (3, 8)


def test_the_rules_need_each_other() -> None:
    config = compose(["distill=mosaic", "synthesis=replay"]).config
    assert config.distill.images == 100
    assert config.synthesis.teach.labels == "hard"
