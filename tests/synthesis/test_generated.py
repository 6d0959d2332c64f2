"""Teaching inputs drawn from what packets say of features, where features are the inputs."""

from __future__ import annotations

import numpy as np
import pytest

from qsynth.distill.evidence import Evidence
from qsynth.encoder import make_encoder
from qsynth.encoder.config import Identity, SeededFourier
from qsynth.errors import ConfigError
from qsynth.packet import class_statistics, in_units
from qsynth.recipe.compose import compose
from qsynth.synthesis import OwnData, OwnEvidence
from qsynth.synthesis.head_rule import Teach
from qsynth.synthesis.hierarchical import Hierarchical
from qsynth.types import Task

D, C = 5, 3
LOCATION, SCALE = (1.0, 0.0, 2.0, 0.0, -3.0), (1.0, 2.0, 0.5, 1.0, 4.0)
TASK = Task(
    "t", 1, ("a", "b", "c"), "vector", (D,), "", -40.0, 40.0, location=LOCATION, scale=SCALE
)
RULE = Hierarchical(teach=Teach(inputs="generated", pool_size=4000), support_cap=None)
CENTRES = np.array([[0.0] * D, [3.0, 0.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0, -2.0]])


def drawn(rng, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of three classes, in the units of the world."""
    y = np.arange(count) % C
    features = CENTRES[y] + 0.5 * rng.standard_normal((count, D))
    return (features * SCALE + LOCATION).astype(np.float32), y


def own_data(x, y) -> OwnData:
    encoder = make_encoder(Identity(), TASK)
    evidence = OwnEvidence.from_samples(encoder.encode(x), y, C, 0)
    made = OwnData(TASK, encoder, evidence, x, D, lambda: RULE.alone(made))
    return made


def packets(encoder, *sites) -> dict[bytes, Evidence]:
    return {
        bytes([n]): Evidence(class_statistics(encoder.encode(x), y, C))
        for n, (x, y) in enumerate(sites)
    }


def test_statistics_in_units_are_those_of_the_samples_in_them(rng) -> None:
    x, y = drawn(rng, 90)
    features = (x - np.array(LOCATION)) / np.array(SCALE)
    made = in_units(class_statistics(features, y, C), np.array(LOCATION), np.array(SCALE))
    slow = class_statistics(x, y, C)
    for name in ("counts", "sums", "scatter"):
        np.testing.assert_allclose(getattr(made, name), getattr(slow, name), rtol=1e-4, atol=1e-3)


def test_inputs_are_drawn_from_what_all_have_said_of_features(rng) -> None:
    own = own_data(*drawn(rng, 30))
    theirs = packets(own.encoder, drawn(rng, 60), drawn(rng, 60), drawn(rng, 60))
    synthesis = RULE.synthesize(own, theirs, dict.fromkeys(theirs, 1.0))
    assert len(synthesis.authors) == 3
    pool = RULE.lesson(own, synthesis, theirs, np.random.default_rng(1))
    made = pool.drawn()
    assert made.shape == (4000, D)
    features = own.encoder.encode(made)
    near = np.argmin(np.square(features[:, None] - CENTRES).sum(axis=2), axis=1)
    for label, centre in enumerate(CENTRES):
        mean = features[near == label].mean(axis=0)
        np.testing.assert_allclose(mean, centre, atol=0.25)
    spread = (features - CENTRES[near]).std(axis=0)
    np.testing.assert_allclose(spread, 0.5, atol=0.12)


def test_alone_they_are_drawn_from_own_samples(rng) -> None:
    own = own_data(*drawn(rng, 60))
    synthesis = RULE.alone(own)
    made = RULE.lesson(own, synthesis, {}, np.random.default_rng(1)).drawn()
    np.testing.assert_allclose(made.mean(axis=0), own.inputs.mean(axis=0), atol=0.6)


def test_a_claim_of_many_samples_moves_them_no_further_than_its_cap(rng) -> None:
    rule = Hierarchical(teach=RULE.teach, support_cap=1.0)
    x, y = drawn(rng, 60)
    own = own_data(x, y)
    one = class_statistics(own.encoder.encode(drawn(rng, 60)[0]), y, C)
    many = type(one)(one.counts * 1e4, one.sums * 1e4, one.scatter * 1e4)
    means = []
    for statistics in (one, many):
        theirs = {b"a": Evidence(statistics)}
        synthesis = rule.synthesize(own, theirs, {b"a": 1.0})
        assert synthesis.authors == (b"a",)
        means.append(rule.lesson(own, synthesis, theirs, np.random.default_rng(1)).drawn())
    np.testing.assert_allclose(means[0].mean(axis=0), means[1].mean(axis=0), atol=0.05)


def test_a_setting_that_nothing_can_be_drawn_by_is_refused() -> None:
    words = ["data=arrays", "data.path=a.npz", "synthesis.teach.inputs=generated"]
    words.append("distill.input_rank=null")
    made = compose([*words, "encoder=identity"]).config
    assert made.synthesis.teach.inputs == "generated"
    assert made.distill.input_rank is None
    with pytest.raises(ConfigError, match="encoder=identity"):
        compose([*words, "encoder=seeded_fourier"])


def test_an_encoder_that_cannot_be_inverted_says_so() -> None:
    fourier = SeededFourier(dimensions=8, frequencies=32, fit_inputs=300)
    assert make_encoder(fourier, TASK).units is None
    location, scale = make_encoder(Identity(), TASK).units
    np.testing.assert_allclose(location, LOCATION)
    np.testing.assert_allclose(scale, SCALE)


def test_a_recipe_keeps_them_on_other_data_where_features_are_the_inputs() -> None:
    words = ["+recipe=wisdm", "data.path=mine.npz", "data=arrays"]
    kept = compose(words).config
    assert kept.synthesis.teach.inputs == "generated"
    assert kept.distill.input_rank is None
    assert compose([*words, "encoder=seeded_fourier"]).config.synthesis.teach.inputs == "own_mix"


def test_they_are_for_classes() -> None:
    values = Task("v", 1, ("a",), "vector", (D,), "", -40.0, 40.0, kind="values")
    with pytest.raises(ConfigError, match=r"teach\.inputs=generated: is for classes"):
        RULE.check_task(values)
