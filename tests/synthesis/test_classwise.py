"""Which classes of a peer mean the same here."""

from __future__ import annotations

import numpy as np

from qsynth.packet import class_statistics
from qsynth.synthesis.analytic_head import AnalyticHead, synthesize, with_copies
from qsynth.synthesis.classwise import class_part, shared_classes
from qsynth.synthesis.invariance import copies
from qsynth.synthesis.own_evidence import OwnEvidence

MEANS = np.random.default_rng(7).standard_normal((5, 12)) * 2.0
SWAPPED = MEANS[[1, 0, 2, 3, 4]]


def samples(seed: int, n: int = 100, means=MEANS):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % len(means)
    return (means[y] + rng.standard_normal((n, means.shape[1]))).astype(np.float32), y


def statistics(seed: int, n: int = 100, means=MEANS):
    return class_statistics(*samples(seed, n, means), 5)


def accuracy(head) -> float:
    x, y = samples(99, 2000, MEANS / 2.0)
    return float((head.scores(x).argmax(axis=1) == y).mean())


def test_swapped_classes_are_left_out_and_the_others_kept() -> None:
    mine = statistics(0)
    assert shared_classes(mine, statistics(1)).all()
    swapped = shared_classes(mine, statistics(2, means=SWAPPED))
    assert swapped.tolist() == [False, False, True, True, True]
    (part,) = class_part(mine, statistics(2, means=SWAPPED))
    assert part.counts.tolist() == [0, 0, 20, 20, 20]


def test_an_unseen_class_is_taken_over_from_whom_one_agrees_with() -> None:
    x, y = samples(0)
    mine = class_statistics(x[y < 4], y[y < 4], 5)
    assert shared_classes(mine, statistics(1))[4]
    assert not shared_classes(mine, statistics(2, means=MEANS[[1, 2, 3, 0, 4]]))[4]


def test_nothing_in_common_is_nothing() -> None:
    x, y = samples(0)
    mine = class_statistics(x[y < 2], y[y < 2], 5)
    theirs = class_statistics(x[y > 2], y[y > 2], 5)
    assert class_part(mine, theirs) == []


def test_unlike_peers_teach_the_classes_they_share() -> None:
    near = MEANS / 2.0  # close enough that 25 samples leave something to learn
    own = OwnEvidence.from_samples(*samples(0, 25, near), 5, 0)
    packets = {bytes([s]): statistics(s, 200, SWAPPED / 2.0) for s in (1, 2, 3)}
    unlike = dict.fromkeys(packets, 0.3)
    alone = synthesize(AnalyticHead(), own, 12, {})
    whole = synthesize(AnalyticHead(merge="whole", gate="none"), own, 12, packets)
    auto = synthesize(AnalyticHead(merge="auto"), own, 12, packets, unlike)
    assert accuracy(whole.head) < accuracy(alone.head)
    assert accuracy(auto.head) > accuracy(alone.head)
    assert len(auto.authors) > 0


def test_who_is_not_alike_has_to_bring_something() -> None:
    own = OwnEvidence.from_samples(*samples(0, 200), 5, 0)
    noise = {b"\1": statistics(5, 10, MEANS + 0.2)}
    trusted = synthesize(AnalyticHead(), own, 12, noise, {b"\1": 1.0})
    unlike = synthesize(AnalyticHead(), own, 12, noise, {b"\1": 0.1})
    assert trusted.authors == (b"\1",)
    assert unlike.authors == ()


def test_copies_of_images_are_what_their_names_say() -> None:
    images = np.arange(2 * 1 * 3 * 4, dtype=np.float32).reshape(2, 1, 3, 4)
    (across,) = copies(images, "flip_horizontal")
    (down,) = copies(images, "flip_vertical")
    np.testing.assert_array_equal(across, np.flip(images, 3))
    np.testing.assert_array_equal(down, np.flip(images, 2))
    shifts = copies(images, "shift")
    assert len(shifts) == 4
    np.testing.assert_array_equal(shifts[0][:, :, :-1], images[:, :, 1:])
    np.testing.assert_array_equal(shifts[0][:, :, -1], images[:, :, -1])


def test_an_invariance_is_kept_only_where_own_samples_agree() -> None:
    near = MEANS / 2.0
    x, y = samples(0, 60, near)
    own = OwnEvidence.from_samples(x, y, 5, 0)

    def encoded(kind: str):
        rng = np.random.default_rng(1)
        if kind == "flip_horizontal":  # further samples of the same classes
            return [(near[y] + rng.standard_normal(x.shape)).astype(np.float32)]
        return [(near[(y + 1) % 5] + rng.standard_normal(x.shape)).astype(np.float32)]

    made = with_copies(own, 12, encoded, ("flip_vertical", "flip_horizontal"))
    assert len(made.copies) == 1
    assert made.statistics(12).counts.tolist() == [12.0] * 5
