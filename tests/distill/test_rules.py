"""Packets of model knowledge: what they hold, how small they are, and nothing that crashes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.distill import Source, read_evidence
from qsynth.distill.analytic import Analytic, distil
from qsynth.distill.class_logits import ClassLogits, code_logits, decode_logits, logit_shapes
from qsynth.distill.means import mean_shapes
from qsynth.distill.reference_logits import (
    ReferenceAnswers,
    ReferenceLogits,
    code_answers,
    decode_answers,
    reference_digest,
)
from qsynth.errors import ConfigError, PacketError
from qsynth.packet import packet_bytes
from qsynth.types import Task


def source(x, y, classes, answer):
    names = tuple(str(c) for c in range(classes))
    return Source(Task("t", 1, names, "vector", x.shape[1:], "", -4.0, 4.0), x, y, answer)


def labels_of(rng, classes, n=200):
    return rng.integers(0, classes, n)


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_mean_logits_come_back_to_a_step(rng, classes) -> None:
    y = labels_of(rng, classes)
    logits = 3 * np.eye(classes)[y] + rng.standard_normal((len(y), classes))
    payload = code_logits(logits, y, classes) | {"counts": np.bincount(y).astype(np.uint32)}
    got = decode_logits(payload)
    centred = logits - logits.mean(axis=1, keepdims=True)
    true = np.array([centred[y == c].mean(axis=0) for c in range(classes)])
    assert got.shape == (classes, classes)
    assert np.abs(got - true).max() < 0.2 * np.abs(true).max()
    np.testing.assert_array_equal(got.argmax(axis=1), np.arange(classes))


def test_ten_classes_fit_into_512_bytes_and_the_size_is_known(rng) -> None:
    config = ClassLogits(max_bytes=512)
    said = config.check_size(20, 10, 196)
    y = labels_of(rng, 10)
    x = rng.standard_normal((200, 24)).astype(np.float32)
    payload = distil(config.statistics(), 20, x, None, y, 10)
    payload |= config.further(source(x, y, 10, lambda a: a[:, :10].astype(np.float64)))
    assert packet_bytes(payload) == said <= 512
    with pytest.raises(ConfigError, match=r"distill\.max_bytes=1024 would fit"):
        config.check_size(32, 10, 196)


def test_few_samples_of_a_class_are_not_told(rng) -> None:
    y = np.array([0] * 20 + [1] * 20 + [2] * 3)
    x = rng.standard_normal((43, 20)).astype(np.float32)
    config = ClassLogits(min_support=5)
    payload = distil(config.statistics(), 20, x, None, y, 3)
    payload |= config.further(source(x, y, 3, lambda a: a[:, :3].astype(np.float64) + 5))
    read = read_evidence(payload, config)
    assert read.features.counts.tolist() == [20, 20, 0]
    assert isinstance(read.told, np.ndarray)
    assert not read.told[2].any()
    assert read.told[:2].any()
    assert read_evidence(payload, ReferenceLogits()).told is None
    assert read_evidence(payload).told is None


def test_answers_to_a_public_set_come_back_to_a_step(rng) -> None:
    logits = 2 * rng.standard_normal((40, 7))
    digest = reference_digest(rng.standard_normal((40, 3)).astype(np.float32))
    got = decode_answers(code_answers(logits, digest), 7)
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert got.digest == digest
    assert np.abs(got.probabilities - true).max() < 0.02
    np.testing.assert_allclose(got.probabilities.sum(axis=1), 1.0)


def test_a_public_set_too_large_for_the_packet_is_refused_beforehand() -> None:
    assert ReferenceLogits().check_size(20, 10, 196) < 8192
    with pytest.raises(ConfigError, match="would fit"):
        ReferenceLogits(samples=1000).check_size(20, 10, 196)
    with pytest.raises(ConfigError, match="would fit"):
        ReferenceLogits().check_size(20, 10, 196, references=1000)


@pytest.mark.parametrize("damage", ["missing", "digest", "dtype", "columns", "empty", "shares"])
def test_damaged_answers_are_refused(rng, damage) -> None:
    payload = code_answers(rng.standard_normal((8, 4)), bytes(8))
    codes = payload["reference_codes"]
    if damage == "missing":
        del payload["reference_digest"]
    elif damage == "digest":
        payload["reference_digest"] = np.zeros(7, np.uint8)
    elif damage == "dtype":
        payload["reference_codes"] = codes.astype(np.int8)
    elif damage == "columns":
        payload["reference_codes"] = codes[:, :3]
    elif damage == "empty":
        payload["reference_codes"] = codes[:0]
    else:
        payload["reference_codes"] = np.full_like(codes, 255)
    with pytest.raises(PacketError) as caught:
        decode_answers(payload, 4)
    assert caught.value.reason in ("schema", "range")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_numbers_are_read_or_refused(data) -> None:
    classes, inputs = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))
    columns = data.draw(st.sampled_from([classes, classes + 1]))
    shapes = mean_shapes(classes, 4) | logit_shapes(columns)
    shapes |= {"reference_codes": ((inputs, columns), np.uint8)}
    shapes |= {"reference_digest": ((8,), np.uint8)}
    payload = {}
    for key, (shape, dtype) in shapes.items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = data.draw(st.binary(min_size=size, max_size=size))
        payload[key] = np.frombuffer(raw, dtype).reshape(shape)
    try:
        logits = read_evidence(payload, ClassLogits()).told
        answers = read_evidence(payload, ReferenceLogits()).told
    except PacketError as error:
        assert error.reason in ("schema", "range")
    else:
        assert isinstance(logits, np.ndarray)
        assert np.isfinite(logits).all()
        assert isinstance(answers, ReferenceAnswers)
        assert np.isfinite(answers.probabilities).all()


@pytest.mark.parametrize("columns", [0, 2, 5])
def test_mean_logits_of_another_width_are_refused(rng, columns) -> None:
    payload = code_logits(rng.standard_normal((60, 4)), np.arange(60) % 4, 4)
    payload["counts"] = np.full(4, 15, np.uint32)
    payload["l_mean_codes"] = np.full((4, columns), 119, np.uint8)
    if columns == 2:
        assert decode_logits(payload).shape == (4, 4)
        return
    with pytest.raises(PacketError, match="schema"):
        decode_logits(payload)


@pytest.mark.parametrize("classes", [4, 10, 100])
def test_the_label_that_stands_out_is_not_clipped(rng, classes) -> None:
    y = np.arange(5 * classes) % classes
    logits = rng.standard_normal((len(y), classes)) + 10 * np.eye(classes)[y]
    payload = code_logits(logits, y, classes)
    payload["counts"] = np.full(classes, 5, np.uint32)
    got = decode_logits(payload)
    shares = np.exp(got - got.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    assert np.diag(shares).min() > 0.6


def test_a_network_is_not_asked_about_nothing(rng) -> None:
    def never(inputs):
        raise AssertionError("asked")

    x, y = rng.standard_normal((6, 20)).astype(np.float32), np.arange(6) % 3
    payload = ClassLogits(min_support=5).further(source(x, y, 3, never))
    payload["counts"] = np.zeros(3, np.uint32)
    assert not decode_logits(payload).any()


def test_answers_of_nothing_and_public_sets_beyond_all_bounds_are_refused() -> None:
    nothing = {"reference_codes": np.zeros((2, 600), np.uint8)}
    nothing["reference_digest"] = np.zeros(8, np.uint8)
    with pytest.raises(PacketError, match="range"):
        decode_answers(nothing, 600)
    with pytest.raises(ConfigError, match="at most 4096"):
        ReferenceLogits(max_bytes=32768).check_size(20, 2, 196, references=5000)


def test_whatever_a_rule_of_a_package_raises_one_packet_is_refused(rng) -> None:
    class Broken(ClassLogits):
        def read(self, payload, features):
            raise KeyError("spread")

    y = labels_of(rng, 3)
    payload = distil(Analytic(), 8, rng.standard_normal((200, 8)).astype(np.float32), None, y, 3)
    with pytest.raises(PacketError, match="distill=class_logits cannot read it") as caught:
        read_evidence(payload, Broken())
    assert caught.value.reason == "schema"
