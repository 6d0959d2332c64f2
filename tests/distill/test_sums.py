"""Sums of packets: exact up to a truncation that is told, checkable, and nothing that crashes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsynth.distill import Part, add, agrees, distil, read_evidence
from qsynth.distill.analytic import Analytic
from qsynth.distill.receipts import Receipts, code_receipts, decode_receipts, disjoint, leaf
from qsynth.errors import PacketError, ShapeError
from qsynth.packet import class_statistics, merge


def part(seed, n=90, d=12, config=None, classes=3, inputs=False):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = (rng.standard_normal((n, d)) @ np.diag(np.geomspace(4, 0.2, d)) + y[:, None]).astype(
        np.float32
    )
    config = config or Analytic(rank=4, input_rank=2 if inputs else None)
    payload = distil(config, d, x, x[:, :5] if inputs else None, y, classes)
    digest = hashlib.sha256(str(seed).encode()).digest()
    receipt = leaf(hashlib.sha256(b"a%d" % seed).digest(), digest)
    return Part(digest[:16], (receipt,), read_evidence(payload)), x, y


def summed(parts, rank=4, input_rank=0):
    payload = add(rank, input_rank, parts)
    evidence = read_evidence(payload)
    digest = hashlib.sha256(payload["means"].tobytes()).digest()[:16]
    return payload, Part(digest, evidence.receipts.leaves, evidence)


def test_a_sum_of_all_ranks_is_what_merging_gives() -> None:
    made = [part(seed) for seed in range(5)]
    _, whole = summed([m[0] for m in made], rank=12)
    twin = merge([m[0].evidence.features for m in made])
    got = whole.evidence.features
    np.testing.assert_array_equal(got.counts, twin.counts)
    np.testing.assert_allclose(got.means(), twin.means(), atol=0.01 * np.abs(twin.means()).max())
    size = np.linalg.norm(twin.scatter)
    assert np.linalg.norm(got.scatter - twin.scatter) < 0.02 * size
    # And that is nearly what the samples in one place would give.
    x, y = np.concatenate([m[1] for m in made]), np.concatenate([m[2] for m in made])
    pooled = class_statistics(x, y, 3)
    np.testing.assert_array_equal(got.counts, pooled.counts)
    assert np.linalg.norm(got.scatter - pooled.scatter) < 0.1 * np.linalg.norm(pooled.scatter)


def test_the_loss_told_is_a_bound_over_all_truncations_on_the_way() -> None:
    leaves = [part(seed)[0] for seed in range(8)]
    level = leaves
    while len(level) > 1:
        level = [summed(level[i : i + 2], rank=2)[1] for i in range(0, len(level), 2)]
    root, twin = level[0].evidence, merge([p.evidence.features for p in leaves])
    error = np.linalg.norm(root.features.scatter - twin.scatter) / np.linalg.norm(twin.scatter)
    assert 0 < error <= root.receipts.loss < 1
    assert root.receipts.leaves == tuple(sorted(p.leaves[0] for p in leaves))


def test_no_author_counts_twice() -> None:
    one, two, three = (part(seed)[0] for seed in range(3))
    _, pair = summed([one, two])
    with pytest.raises(ShapeError):
        add(4, 0, [pair, one])
    with pytest.raises(ShapeError):
        add(4, 0, [one])
    assert disjoint([pair.leaves, three.leaves])
    assert not disjoint([pair.leaves, one.leaves])


def test_what_the_parts_do_not_give_is_found() -> None:
    one, two, three = (part(seed)[0] for seed in range(3))
    payload, _ = summed([one, two])
    assert agrees(payload, [two, one])
    assert not agrees(payload, [one, three])
    assert not agrees(payload, [one])
    for key, change in (("counts", 1), ("means", 40), ("factors", 60)):
        forged = dict(payload)
        forged[key] = (payload[key] + np.asarray(change, payload[key].dtype)).astype(
            payload[key].dtype
        )
        assert not agrees(forged, [one, two]), key


def test_inputs_and_bare_means_add_too() -> None:
    one, two = (part(seed, inputs=True)[0] for seed in range(2))
    payload, whole = summed([one, two], input_rank=2)
    twin = merge([one.evidence.inputs, two.evidence.inputs])
    got = whole.evidence.inputs.means()
    np.testing.assert_allclose(got, twin.means(), atol=0.01 * np.abs(twin.means()).max())
    assert agrees(payload, [one, two])
    bare = [part(seed, config=Analytic(coding="means"))[0] for seed in range(2)]
    payload = add(4, 0, bare)
    assert "mean_codes" in payload
    means = merge([p.evidence.features for p in bare]).means()
    got = read_evidence(payload).features.means()
    assert np.abs(got - means).max() < 0.5 * np.abs(means).max()
    assert agrees(payload, bare)


def test_parts_of_different_d_add_at_the_smallest() -> None:
    one, two = part(0, d=12)[0], part(1, d=8)[0]
    assert read_evidence(add(4, 0, [one, two])).features.dimensions == 8


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("parts"),
        lambda p: p.update(leaves=p["leaves"][::-1].copy()),
        lambda p: p.update(leaves=np.repeat(p["leaves"][:1], 2, axis=0)),
        lambda p: p.update(leaves=p["leaves"][:1]),
        lambda p: p.update(leaves=p["leaves"][:, :9].copy()),
        lambda p: p.update(loss=np.array([np.nan], np.float32)),
        lambda p: p.update(loss=np.array([0, 0], np.float32)),
        lambda p: p.update(parts=np.zeros((26, 16), np.uint8)),
    ],
)
def test_malformed_receipts_are_refused(change) -> None:
    payload = code_receipts(Receipts((b"a" * 24, b"b" * 24), (b"c" * 16, b"d" * 16), 0.5))
    assert decode_receipts(payload) == Receipts((b"a" * 24, b"b" * 24), (b"c" * 16, b"d" * 16), 0.5)
    change(payload)
    with pytest.raises(PacketError):
        decode_receipts(payload)


@settings(deadline=None)
@given(data=st.data())
def test_any_receipts_are_read_or_refused(data) -> None:
    payload = add(2, 0, [part(seed)[0] for seed in range(3)])
    name = data.draw(st.sampled_from(["leaves", "parts", "loss"]))
    raw = bytearray(payload[name].tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    payload[name] = np.frombuffer(bytes(raw), payload[name].dtype).reshape(payload[name].shape)
    try:
        assert len(read_evidence(payload).receipts.leaves) == 3
    except PacketError as error:
        assert error.reason in ("schema", "range")
