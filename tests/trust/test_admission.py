from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qsynth.distill import distil, read_evidence
from qsynth.distill.analytic import MOST_TTL_S as ALLOWED_S
from qsynth.distill.analytic import Analytic
from qsynth.errors import PacketError
from qsynth.identity import Identity
from qsynth.packet import OutcomePacket, encode_packet
from qsynth.similarity import fingerprint
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.trust import Admission
from qsynth.trust.admission import MOST_TTL_S
from qsynth.trust.config import Checks
from qsynth.types import Task

NOW = 1_700_000_000.0
AUTHOR = Identity.seeded("author")
TASK = Task("t", 1, ("a", "b", "c"), "vector", (12,), "", 0.0, 1.0)
ADMISSION = Admission(
    Checks(),
    TASK,
    TASK.digest(),
    b"e" * 16,
    read_evidence,
    lambda counts, sums: fingerprint(ClassSketch(), counts, sums),
)


def test_images_of_another_shape_are_refused_before_they_are_unpacked() -> None:
    made = payload() | {"mosaic_shape": np.array([3, 64, 64], np.uint32)}
    with pytest.raises(PacketError, match="schema"):
        ADMISSION._check_shapes(made)
    square = replace(ADMISSION, task=replace(TASK, layout="image", shape=(3, 64, 64)))
    square._check_shapes(made)


def payload(classes: int = 3) -> dict:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((60, 12)).astype(np.float32), np.arange(60) % classes
    return distil(Analytic(), 12, x, None, y, classes)


def packet(**changes) -> OutcomePacket:
    good = OutcomePacket(TASK.digest(), b"e" * 16, AUTHOR.public_key, 2, NOW, 60, 60, payload())
    return replace(good, **changes)


def narrow(d: int) -> dict:
    made = distil(Analytic(), 4, np.zeros((60, 4), np.float32), None, np.arange(60) % 3, 3)
    return made | {
        "means": made["means"][:, :d],
        "factors": made["factors"][:d],
        "diagonal": made["diagonal"][:d],
    }


def inputs(size: int) -> dict:
    """Statistics of inputs of a shape that the task does not have."""
    x, y = np.ones((60, size), np.float32), np.arange(60) % 3
    made = distil(Analytic(input_rank=2), size, x, x, y, 3)
    return {key: value for key, value in made.items() if key.startswith("input_")}


def sketch_of(made: dict) -> np.ndarray:
    statistics = read_evidence(made).features
    return fingerprint(ClassSketch(), statistics.counts, statistics.sums)


def admit(made: OutcomePacket, after=0, claimed=None, version=2, author=AUTHOR.id, identity=AUTHOR):
    data = encode_packet(made, identity)
    return ADMISSION.admit(data, author, after, claimed, version, NOW + 1)


def test_a_right_packet_is_admitted() -> None:
    own = sketch_of(payload())
    admitted = admit(packet(), claimed=own)
    assert np.array_equal(admitted.fingerprint, own)
    assert admitted.evidence.features.counts.sum() == 60
    assert admit(packet(), claimed=own[::-1].copy(), version=1).packet.sequence == 2


OTHER = Identity.seeded("other")
BAD = [
    ("author", {}, {"author": OTHER.id}),
    ("task", {"task": b"x" * 16}, {}),
    ("encoder", {"encoder": b"x" * 16}, {}),
    ("replay", {}, {"after": 2}),
    ("expired", {"created_s": NOW - 120}, {}),
    ("future", {"created_s": NOW + 4000}, {}),
    ("future", {"sequence": int(NOW + 401 * 86400)}, {}),
    ("future", {"sequence": 2**63}, {}),
    ("support", {"support": 61}, {}),
    ("schema", {"payload": payload(4)}, {}),
    ("schema", {"payload": {}}, {}),
    ("schema", {"payload": narrow(0)}, {}),
    ("schema", {"payload": payload() | inputs(5)}, {}),
    ("fingerprint", {}, {"claimed": np.roll(sketch_of(payload()), 1)}),
    ("fingerprint", {}, {"claimed": np.zeros(3, np.int8)}),
]


@pytest.mark.parametrize(("reason", "changes", "arguments"), BAD)
def test_each_wrong_packet_has_its_reason(reason, changes, arguments) -> None:
    with pytest.raises(PacketError) as caught:
        admit(packet(**changes), **arguments)
    assert caught.value.reason == reason


def test_a_packet_of_an_impostor_is_refused() -> None:
    forged = encode_packet(packet(author=OTHER.public_key), OTHER)
    with pytest.raises(PacketError, match="author"):
        ADMISSION.admit(forged, AUTHOR.id, 0, None, 0, NOW)


def test_inflated_and_empty_support_are_refused() -> None:
    made = payload()
    made["counts"] = (made["counts"] * 0).astype(np.uint32)
    with pytest.raises(PacketError, match="support"):
        admit(packet(payload=made, support=0))
    huge = payload()
    huge["counts"] = (huge["counts"] * 100_000).astype(np.uint32)
    with pytest.raises(PacketError, match="support"):
        admit(packet(payload=huge, support=6_000_000))


def test_a_packet_holds_for_no_longer_than_packets_may() -> None:
    data = encode_packet(packet(ttl_s=2**32 - 1), AUTHOR)
    admitted = ADMISSION.admit(data, AUTHOR.id, 0, None, 2, NOW + 1)
    assert admitted.packet.ttl_s == MOST_TTL_S == ALLOWED_S
    late = NOW + MOST_TTL_S + 1
    for again in (
        lambda: ADMISSION.admit(data, AUTHOR.id, 0, None, 2, late),
        lambda: ADMISSION.opened(data, late),
    ):
        with pytest.raises(PacketError) as caught:
            again()
        assert caught.value.reason == "expired"
