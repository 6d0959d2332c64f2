"""Networks that teach networks: by class, and by their answers to a public set."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.distill import Evidence
from qsynth.distill.reference_logits import ReferenceAnswers, reference_digest
from qsynth.packet import Statistics
from qsynth.synthesis import class_kd, reference_kd
from qsynth.synthesis.lesson import LessonOptions
from qsynth.synthesis.reference_kd import answers_of
from qsynth.types import Task

TASK = Task("t", 1, ("a", "b", "c", "d"), "vector", (3,), "1", -4.0, 4.0)


def support(counts):
    return Statistics(np.array(counts, float), np.zeros((4, 2)), np.zeros((2, 2)))


def test_who_names_the_classes_otherwise_does_not_teach() -> None:
    sure = 4.0 * np.eye(4)
    logits = {b"same": sure, b"shifted": np.roll(sure, 1, axis=1), b"elsewhere": sure}
    known = {b"same": support([9, 9, 9, 9]), b"shifted": support([9, 9, 9, 9])}
    known[b"elsewhere"] = support([0, 0, 9, 9])
    own = np.array([5.0, 5.0, 0.0, 0.0])
    assert class_kd.agreeing(own, logits, known) == (b"same",)


def test_class_targets_are_the_mean_over_who_knows_the_class() -> None:
    logits = {b"x": 2.0 * np.eye(4), b"y": np.zeros((4, 4))}
    known = {b"x": support([9, 9, 0, 0]), b"y": support([9, 0, 0, 0])}
    got = class_kd.class_targets(4, (b"x", b"y"), logits, known)
    soft = np.exp([2.0, 0, 0, 0]) / np.exp([2.0, 0, 0, 0]).sum()
    np.testing.assert_allclose(got[0], (soft + 0.25) / 2)
    np.testing.assert_allclose(got[1], np.roll(soft, 1))
    np.testing.assert_array_equal(got[2:], np.eye(4)[2:])


def test_a_class_lesson_gives_each_input_the_target_of_its_class(rng) -> None:
    x = np.repeat(np.arange(4.0), 5)[:, None].repeat(3, axis=1).astype(np.float32)
    y = np.repeat(np.arange(4), 5)
    targets = rng.dirichlet(np.ones(4), 4)
    made = class_kd.class_lesson(LessonOptions(pool_size=40), targets, x, y, TASK, rng)
    assert made.inputs.shape == (40, 3)
    nearest = np.array([np.abs(targets - row).sum(axis=1).argmin() for row in made.targets])
    np.testing.assert_allclose(made.targets, targets[nearest], atol=1e-6)
    assert len(set(nearest.tolist())) == 4


def test_contrary_answers_do_not_teach(rng) -> None:
    own = 3.0 * np.eye(4)[rng.integers(0, 4, 30)]
    right = np.exp(own) / np.exp(own).sum(axis=1, keepdims=True)
    answers = {b"agrees": right, b"contrary": np.roll(right, 1, axis=1)}
    assert reference_kd.agreeing(answers, own) == (b"agrees",)


def test_answers_to_another_set_do_not_teach(rng) -> None:
    mine, other = (rng.standard_normal((5, 3)).astype(np.float32) for _ in range(2))
    same = np.full((5, 4), 0.25)

    def said(inputs, probabilities=same):
        return Evidence(
            support([9, 9, 9, 9]), told=ReferenceAnswers(probabilities, reference_digest(inputs))
        )

    packets = {b"a": said(mine), b"b": said(other), b"c": said(mine, same[:2])}
    assert list(answers_of(packets | {b"d": Evidence(support([1, 1, 1, 1]))}, mine)) == [b"a"]


def test_a_reference_lesson_is_the_mean_answer_and_nothing_without_authors() -> None:
    one, two = np.eye(4)[[0, 1]], np.full((2, 4), 0.25)
    inputs = np.ones((2, 3), np.float32)
    answers = {b"a": one, b"b": two}
    made = reference_kd.reference_lesson(LessonOptions(), (b"a", b"b"), answers, inputs)
    assert made is not None
    np.testing.assert_allclose(made.targets, (one + two) / 2)
    assert reference_kd.reference_lesson(LessonOptions(), (), answers, inputs) is None


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_the_weight_travels_with_the_lesson(rng, weight) -> None:
    x, y = np.zeros((4, 3), np.float32), np.arange(4)
    made = class_kd.class_lesson(LessonOptions(weight=weight), np.eye(4), x, y, TASK, rng)
    assert made.weight == weight
