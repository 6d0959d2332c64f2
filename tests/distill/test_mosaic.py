"""Mosaics: images in few bytes, none of a rare class, and hostile ones refused."""

from __future__ import annotations

import lzma
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.distill import Source, distil, read_evidence
from qsynth.distill.mosaic import (
    FILTERS,
    STEPS,
    Images,
    averaged_images,
    code_mosaic,
    decode_mosaic,
)
from qsynth.distill.mosaic import Mosaic as Rule
from qsynth.errors import ConfigError, PacketError
from qsynth.packet import packet_bytes
from qsynth.types import Task


def source(payload, images, labels, rng):
    names = tuple(str(c) for c in range(10))
    task = Task("t", 1, names, "image", images.shape[1:], "", 0.0, 1.0)
    return Source(task, images, labels, payload=payload, rng=rng)


def photographs(rng, n=60, shape=(3, 16, 16)):
    """Smooth images: a plane of light with a patch, and a little grain."""
    rows, columns = np.mgrid[0 : shape[1], 0 : shape[2]] / shape[1]
    slopes = rng.uniform(-0.5, 0.5, (n, 2, shape[0], 1, 1))
    images = 0.5 + slopes[:, 0] * (rows - 0.5) + slopes[:, 1] * (columns - 0.5)
    images[:, :, 4:8, 4:8] += 0.2
    images += 0.02 * rng.standard_normal(images.shape)
    return np.clip(images, 0, 1).astype(np.float32)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 14, 14), (2, 7, 9), (1, 1, 1)])
def test_more_room_is_a_finer_image(rng, shape) -> None:
    images = rng.random((40, *shape)).astype(np.float32)
    if shape == (3, 16, 16):
        images = photographs(rng, 40)
    mosaic, last = Images(images, np.arange(40) % 10), np.inf
    for room in (400, 2000, 20000):
        payload = code_mosaic(mosaic, room)
        size = len(payload["mosaic_code"]) + len(payload["mosaic_labels"])
        assert size <= room
        got = decode_mosaic(payload, 10)
        assert got.images.shape[1:] == shape
        assert 0.0 <= got.images.min() <= got.images.max() <= 1.0
        if len(got.labels) == 40:
            error = float(np.abs(got.images - images).mean())
            assert error <= last + 1e-6
            last = error
    assert last < 0.02
    assert np.array_equal(got.labels, mosaic.labels)


def test_photographs_cost_tens_of_bytes_each(rng) -> None:
    mosaic = Images(photographs(rng, 100), np.arange(100) % 10)
    got = decode_mosaic(code_mosaic(mosaic, 6000), 10)
    assert len(got.labels) == 100
    assert np.sqrt(np.square(got.images - mosaic.images).mean()) < 0.04


def test_images_that_do_not_fit_are_fewer(rng) -> None:
    noise = Images(rng.random((64, 3, 16, 16)).astype(np.float32), np.zeros(64, np.int64))
    few = code_mosaic(noise, 60)
    assert 0 < len(few["mosaic_labels"]) < 64
    assert code_mosaic(noise, 3) == {}


def test_images_are_means_of_one_class_and_rare_classes_are_left_out(rng) -> None:
    labels = np.array([0] * 30 + [1] * 10 + [2] * 3)
    images = np.broadcast_to((labels / 4)[:, None, None, None], (43, 1, 4, 4)).astype(np.float32)
    counts = np.bincount(labels)
    made = averaged_images(images, labels, counts, 40, 4, 5, rng)
    assert np.bincount(made.labels, minlength=3).tolist() == [30, 10, 0]
    np.testing.assert_allclose(made.images[:, 0, 0, 0], made.labels / 4)
    distinct = rng.random((43, 1, 4, 4)).astype(np.float32)
    mixed = averaged_images(distinct, labels, counts, 40, 4, 5, rng).images
    assert mixed.std() < 0.7 * distinct.std()  # a mean of four has half the spread
    assert not len(averaged_images(images, labels, counts, 40, 31, 5, rng).labels)
    assert not len(averaged_images(images, labels, np.zeros(3, int), 40, 1, 1, rng).labels)


def test_a_packet_with_a_mosaic_is_as_large_as_it_may_be(rng) -> None:
    rule = Rule(max_bytes=4096, route_d=20, min_support=5)
    labels = np.arange(120) % 10
    features = rng.standard_normal((120, 24)).astype(np.float32)
    payload = distil(rule.statistics(), 20, features, None, labels, 10)
    payload |= rule.further(source(payload, photographs(rng, 120), labels, rng))
    assert 3000 < packet_bytes(payload) <= 4096
    read = read_evidence(payload, rule).told
    assert isinstance(read, Images)
    assert len(read.labels) == 100
    assert rule.check_size(20, 10, 768) < 4096
    nothing = rule.further(source(payload, photographs(rng, 4), labels[:4], rng))
    assert nothing == {}


def test_only_images_have_mosaics() -> None:
    Rule().check_task(Task("t", 1, ("a", "b"), "image", (1, 4, 4), "", 0.0, 1.0))
    with pytest.raises(ConfigError, match="needs images"):
        Rule().check_task(Task("t", 1, ("a", "b"), "vector", (4,), "", 0.0, 1.0))
    large = Task("t", 1, ("a", "b"), "image", (3, 96, 96), "", 0.0, 1.0)
    with pytest.raises(ConfigError, match="at most 12288 numbers"):
        Rule().check_task(large)
    many = Task("t", 1, tuple(map(str, range(300))), "image", (1, 4, 4), "", 0.0, 1.0)
    with pytest.raises(ConfigError, match="256 classes"):
        Rule().check_task(many)
    with pytest.raises(ConfigError, match="must be <= 85"):
        Rule().check_task(replace(large, shape=(3, 64, 64)))
    Rule(images=85).check_task(replace(large, shape=(3, 64, 64)))


def test_what_nobody_makes_anything_of_stays_packed(rng) -> None:
    rule = Rule(max_bytes=4096)
    labels = np.arange(120) % 10
    features = rng.standard_normal((120, 24)).astype(np.float32)
    payload = distil(rule.statistics(), 20, features, None, labels, 10)
    payload |= rule.further(source(payload, photographs(rng, 120), labels, rng))
    assert read_evidence(payload).told is None
    # A kilobyte that claims two hundred megabytes is refused before it is unpacked.
    payload["mosaic_labels"] = np.zeros(1024, np.uint8)
    payload["mosaic_shape"] = np.array([3, 64, 64], np.uint32)
    with pytest.raises(PacketError, match="range"):
        read_evidence(payload, rule)


def damaged(payload, what):
    if what == "label":
        payload["mosaic_labels"] = np.full(8, 9, np.uint8)
    elif what == "none":
        payload["mosaic_labels"] = np.zeros(0, np.uint8)
    elif what == "shape":
        payload["mosaic_shape"] = np.array([3, 4096, 4096], np.uint32)
    elif what == "axes":
        payload["mosaic_shape"] = np.array([16, 16], np.uint32)
    elif what == "step":
        payload["mosaic_step"] = np.array([len(STEPS)], np.uint8)
    elif what == "missing":
        del payload["mosaic_step"]
    elif what == "dtype":
        payload["mosaic_labels"] = np.zeros(8, np.uint32)
    elif what == "short":
        payload["mosaic_code"] = payload["mosaic_code"][:20]
    else:  # a bomb: a megabyte of zeros in a few bytes
        bomb = lzma.compress(bytes(1 << 20), format=lzma.FORMAT_RAW, filters=FILTERS)
        payload["mosaic_code"] = np.frombuffer(bomb, np.uint8)
        payload["mosaic_shape"] = np.array([3, 64, 65], np.uint32)
    return payload


@pytest.mark.parametrize(
    "what", ["label", "none", "shape", "axes", "step", "missing", "dtype", "short", "bomb"]
)
def test_damaged_mosaics_are_refused(rng, what) -> None:
    mosaic = Images(photographs(rng, 8), np.zeros(8, np.int64))
    with pytest.raises(PacketError) as caught:
        decode_mosaic(damaged(code_mosaic(mosaic, 4000), what), 5)
    assert caught.value.reason in ("schema", "range")


@settings(max_examples=80, deadline=None)
@given(
    st.binary(max_size=200),
    st.lists(st.integers(0, 5), max_size=4),
    st.lists(st.integers(0, 9), max_size=4),
    st.integers(0, 60),
)
def test_any_bytes_are_read_or_refused(code, labels, shape, step) -> None:
    payload = {
        "mosaic_code": np.frombuffer(code, np.uint8),
        "mosaic_labels": np.array(labels, np.uint8),
        "mosaic_shape": np.array(shape, np.uint32),
        "mosaic_step": np.array([step], np.uint8),
    }
    try:
        got = decode_mosaic(payload, 5)
    except PacketError as error:
        assert error.reason in ("schema", "range")
    else:
        assert np.isfinite(got.images).all()
        assert got.images.shape == (len(labels), *shape)
