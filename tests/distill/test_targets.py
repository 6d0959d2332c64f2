"""Joint statistics of targets and features: they add, come back from a packet, and are checked."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.distill import Part, add, agrees, distil_targets, payload_statistics, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.distill.receipts import leaf
from qsynth.distill.targets import code_joint, decode_joint, sides, target_packet_size
from qsynth.errors import PacketError
from qsynth.packet import joint_statistics, merge, packet_bytes


def samples(seed=0, n=80, d=10, targets=2):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)).astype(np.float32)
    y = (x[:, :targets] - 0.5 * x[:, 2:3] + 0.1 * rng.standard_normal((n, targets))).astype(
        np.float32
    )
    return x, y


def test_parts_add_to_what_one_place_would_give() -> None:
    parts = [samples(seed, n) for seed, n in enumerate((30, 50, 20))]
    merged = merge([joint_statistics(x, y) for x, y in parts])
    x, y = (np.concatenate(side) for side in zip(*parts, strict=True))
    pooled = joint_statistics(x, y)
    np.testing.assert_allclose(merged.sums, pooled.sums, atol=1e-4)
    np.testing.assert_allclose(merged.scatter, pooled.scatter, atol=1e-4)
    # And these are the covariances of the plain arrays.
    both = np.concatenate([y, x], axis=1).astype(np.float64)
    np.testing.assert_allclose(pooled.scatter / len(both), np.cov(both.T, bias=True), atol=1e-5)


def test_a_packet_brings_the_part_between_targets_and_features_whole() -> None:
    x, y = samples()
    payload = distil_targets(Analytic(rank=3), 10, x, y)
    joint, true = read_evidence(payload).joint, joint_statistics(x, y)
    across, exact = joint.scatter[:2, 2:], true.scatter[:2, 2:]
    assert np.abs(across - exact).max() <= np.abs(exact).max() / 127
    np.testing.assert_allclose(joint.scatter[:2, :2], true.scatter[:2, :2], rtol=1e-6)
    np.testing.assert_allclose(joint.sums[0, :2], true.sums[0, :2], rtol=1e-4, atol=1e-4)
    assert np.array_equal(joint.scatter, joint.scatter.T)
    assert packet_bytes(payload) == target_packet_size(Analytic(rank=3), 10, 2)


def test_too_few_samples_are_not_told() -> None:
    x, y = samples(n=4)
    payload = distil_targets(Analytic(min_support=5), 10, x, y)
    assert read_evidence(payload).joint.counts[0] == 0
    assert not payload["target_cross"].any()


def test_a_label_of_few_samples_is_not_told() -> None:
    x, _ = samples()
    y = np.zeros((80, 3), np.float32)
    y[0, 0] = 1.0  # the only one
    y[3:, 1] = 1.0  # all but three
    y[::2, 2] = 1.0
    joint = read_evidence(distil_targets(Analytic(), 10, x, y, "labels")).joint
    assert not joint.scatter[:2].any()
    assert joint.sums[0, :2].tolist() == [0.0, 80.0]
    assert joint.scatter[2, 3:].any()


def test_sides_lie_where_the_target_is_high_and_low() -> None:
    x, y = samples(n=4000)
    counts, sums = sides(joint_statistics(x, y), 2)
    assert counts.tolist() == [2000] * 4
    means = sums / counts[:, None]
    slow = np.array(
        [(x * ((y[:, k] - y[:, k].mean()) / y[:, k].std())[:, None]).mean(axis=0) for k in range(2)]
    )
    np.testing.assert_allclose(means[:2] - x.mean(axis=0), slow, atol=1e-3)
    np.testing.assert_allclose(means[2:] - x.mean(axis=0), -slow, atol=1e-3)


def test_a_constant_target_has_no_sides() -> None:
    x, y = samples()
    y[:, 1] = 1.0
    _, sums = sides(joint_statistics(x, y), 2)
    np.testing.assert_allclose(sums[1], sums[3])


def test_sums_of_such_packets_add_the_joint_part() -> None:
    parts = []
    for seed in range(3):
        evidence = read_evidence(distil_targets(Analytic(rank=10), 10, *samples(seed)))
        digest = hashlib.sha256(b"%d" % seed).digest()[:16]
        author = hashlib.sha256(b"a%d" % seed).digest()
        parts.append(Part(digest, (leaf(author, digest),), evidence))
    payload = add(10, 0, parts)
    twin = merge([part.evidence.joint for part in parts])
    got = read_evidence(payload).joint
    assert np.linalg.norm(got.scatter - twin.scatter) < 0.02 * np.linalg.norm(twin.scatter)
    assert agrees(payload, parts)
    forged = dict(payload)
    forged["target_cross"] = -payload["target_cross"]
    assert not agrees(forged, parts)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("target_means", np.array([np.nan, 0], np.float32)),
        ("target_means", np.zeros(3, np.float32)),
        ("target_scatter", np.array([[1, 2], [3, 1]], np.float32)),
        ("target_scatter", np.array([[-1, 0], [0, 1]], np.float32)),
        ("target_scatter", np.full((2, 2), np.inf, np.float32)),
        ("target_cross", np.zeros((2, 9), np.int8)),
        ("target_cross_scales", np.array([1e30, 1], np.float32)),
        ("counts", np.array([3, 4], np.uint32)),
    ],
)
def test_what_cannot_be_is_refused(name, value) -> None:
    payload = code_joint(joint_statistics(*samples()), 2, 3) | {name: value}
    with pytest.raises(PacketError):
        decode_joint(payload, payload_statistics(payload))


@settings(deadline=None)
@given(data=st.data())
def test_any_numbers_are_read_or_refused(data) -> None:
    payload = code_joint(joint_statistics(*samples()), 2, 3)
    name = data.draw(st.sampled_from(sorted(payload)))
    raw = bytearray(payload[name].tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    payload[name] = np.frombuffer(bytes(raw), payload[name].dtype).reshape(payload[name].shape)
    try:
        assert np.isfinite(decode_joint(payload, payload_statistics(payload)).scatter).all()
    except PacketError as error:
        assert error.reason in ("schema", "range")
