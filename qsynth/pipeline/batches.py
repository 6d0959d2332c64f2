"""Samples that come in batches: which of them an exact packet may tell of.

Whoever holds two packets of a node subtracts them.  What is left is then of so many samples at
least as a packet must have of a class (`distill.min_support`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qsynth.distill import DistillRule
from qsynth.privacy import PrivacyRule
from qsynth.types import Flags, Ints


def told_rows(labels: Ints, ends: Sequence[int], least: int) -> Flags:
    """Return (n,) which samples a packet tells of.

    labels: (n,) what each is counted by: its class, or 0 of a task without classes.  ends: number
    of samples after each batch; the first one is told whole, as a packet of a node that has no
    other.  least: samples of a label that are told together; fewer wait for those of a later batch.
    A packet after more batches tells of all that the one before has told of.
    """
    told = np.ones(len(labels), bool)
    if len(ends) < 2:
        return told
    told[ends[0] :] = False
    for end in ends[1:]:
        waiting = np.flatnonzero(~told[:end])
        counts = np.bincount(labels[waiting], minlength=1)
        told[waiting] = counts[labels[waiting]] >= least
    return told


def all_told(
    privacy: PrivacyRule, distill: DistillRule, labels: Ints, ends: Sequence[int]
) -> tuple[slice | Flags, int]:
    """Return which samples leave a node in a packet, and how many these are.

    Under a guarantee for single records all of them do.  labels, ends: as of `told_rows`.
    """
    if privacy.noisy or len(ends) < 2:
        return slice(None), len(labels)
    told = told_rows(labels, ends, distill.statistics().min_support)
    return told, int(told.sum())
