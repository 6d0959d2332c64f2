"""Permuted labels are told apart from other situations."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.host.permuted import permuted
from qsynth.similarity import fingerprint
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.similarity.label_histogram import LabelHistogram

CONFIG = ClassSketch(sketch_d=8)
CLASSES, D = 5, 12
MEANS = np.random.default_rng(1).standard_normal((CLASSES, D)) * 3.0


def sketch(order: list[int], seed: int, means: np.ndarray = MEANS) -> np.ndarray:
    """A node that calls class order[c] by the number c."""
    rng = np.random.default_rng([seed, 4])
    counts = np.full(CLASSES, 20.0)
    told = means[order] + 0.2 * rng.standard_normal((CLASSES, D))
    return fingerprint(CONFIG, counts, told * counts[:, None])


RIGHT = list(range(CLASSES))


def test_two_swapped_labels_are_named() -> None:
    own = sketch([0, 3, 2, 1, 4], 0)
    assert permuted(CONFIG, own, [sketch(RIGHT, s) for s in range(1, 6)], 0.95) == {1: 3, 3: 1}


def test_a_turn_of_all_labels_is_named_in_the_direction_of_the_peers() -> None:
    own = sketch([1, 2, 3, 4, 0], 0)  # what is called 0 here is called 1 there
    found = permuted(CONFIG, own, [sketch(RIGHT, s) for s in range(1, 6)], 0.95)
    assert found == {0: 1, 1: 2, 2: 3, 3: 4, 4: 0}


CASES = ["like", "half like", "unlike", "few", "each another", "no sketch"]


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_said_without_need(case: str) -> None:
    own, others = sketch([0, 3, 2, 1, 4], 0), [sketch(RIGHT, s) for s in range(1, 6)]
    config = CONFIG
    if case == "like":
        others = [sketch([0, 3, 2, 1, 4], s) for s in range(1, 6)]
    elif case == "half like":  # a fleet of groups whose labels mean different things on purpose
        others[:2] = [sketch([0, 3, 2, 1, 4], s) for s in (8, 9)]
    elif case == "unlike":
        strange = np.random.default_rng(7).standard_normal((CLASSES, D)) * 3.0
        others = [sketch(RIGHT, s, strange) for s in range(1, 6)]
    elif case == "few":
        others = others[:1]
    elif case == "each another":
        rng = np.random.default_rng(3)
        others = [sketch(list(rng.permutation(CLASSES)), s) for s in range(1, 6)]
    else:
        config = LabelHistogram()
    assert permuted(config, own, others, 0.95) is None
    assert permuted(config, own, [np.zeros_like(own)] * 4, 0.95) is None
    assert permuted(config, np.zeros_like(own), others, 0.95) is None
