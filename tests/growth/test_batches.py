"""Exact packets of records that grow: no two of them differ by a few."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsynth.pipeline.batches import told_rows
from qsynth.pipeline.publication import Samples


def obvious(labels, ends, least):
    """Batch after batch, label after label."""
    told = set(range(ends[0]))
    for end in ends[1:]:
        for label in set(labels[:end]):
            waiting = {r for r in range(end) if labels[r] == label} - told
            if len(waiting) >= least:
                told |= waiting
    return told


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.lists(st.integers(1, 60), min_size=1, max_size=8),
    st.integers(1, 6),
)
def test_packets_differ_by_many_of_a_class_or_by_none(labels, ends, least) -> None:
    labels = np.array(labels)
    ends = sorted({min(end, len(labels)) for end in ends} | {len(labels)})
    before = None
    for batch in range(1, len(ends) + 1):
        now = ends[:batch]
        told = told_rows(labels[: now[-1]], now, least)
        assert set(np.flatnonzero(told)) == obvious(labels[: now[-1]].tolist(), now, least)
        rows = np.flatnonzero(told)
        if before is not None:
            assert set(before) <= set(rows), "nothing is taken back"
            new = labels[np.setdiff1d(rows, before)]
            assert all((new == label).sum() >= least for label in set(new.tolist()))
        before = rows


def test_one_batch_is_told_whole() -> None:
    labels = np.array([0, 1, 1, 2])
    assert told_rows(labels, (), 3).all()
    assert told_rows(labels, (4,), 3).all()


def test_samples_are_joined_in_batches_and_a_part_of_them_keeps_these() -> None:
    x, y = np.zeros((4, 2), np.float32), np.zeros(4, np.int64)
    samples = Samples(x, y, x, y)
    assert samples.grown(x, y, anew=False).ends == ()
    one = samples.grown(x, y, anew=True)
    assert one.ends == (4, 8)
    assert one.grown(x[:1], y[:1], anew=False).ends == (4, 9)
    two = one.grown(x[:2], y[:2], anew=True)
    assert two.ends == (4, 8, 10)
    part = two.at_most(5, 4, 0)
    assert len(part.train_y) == part.ends[-1] == 5
    assert list(part.ends) == sorted(part.ends)


@pytest.mark.parametrize("least", [1, 3])
def test_a_class_that_nobody_had_waits_for_its_support(least) -> None:
    labels = np.array([0] * 5 + [7])
    assert told_rows(labels, (5, 6), least)[-1] == (least == 1)
