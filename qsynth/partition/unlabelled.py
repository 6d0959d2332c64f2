"""Samples beyond the labelled ones of nodes: inputs without labels, and what nobody holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from qsynth.partition.share import Share
from qsynth.types import Ints


def held_by_nobody(shares: Sequence[Share], samples: int, count: int, seed: int) -> Ints:
    """Return up to `count` sorted indices of training samples that are no node's.

    samples: that there are.  Samples dealt for later, after a drift, are a node's too.
    """
    every = [*shares, *(share.later for share in shares if share.later is not None)]
    held = [part for s in every for part in (s.train, s.validation, s.audit, s.unlabelled)]
    rest = np.setdiff1d(np.arange(samples), np.concatenate(held))
    chosen: Ints = np.sort(np.random.default_rng([seed, 16]).permutation(rest)[:count])
    return chosen


def assign_unlabelled(
    shares: Sequence[Share], count: int, nodes: Ints | None, seed: int
) -> list[Share]:
    """Return shares of inputs without labels: of each site its own, or equal parts at random.

    count: of such inputs; `unlabelled` then says which of them, not which training samples.
    nodes: (count,) whose each is, or None.
    """
    if nodes is not None and any(share.site is None for share in shares):
        nodes = None  # a partition that does not follow whose the samples are
    order = np.random.default_rng([seed, 19]).permutation(count)
    given = []
    for place, share in enumerate(shares):
        mine = order[place :: len(shares)] if nodes is None else np.flatnonzero(nodes == share.site)
        mine = np.sort(mine)
        later = None if share.later is None else replace(share.later, unlabelled=mine)
        given.append(replace(share, unlabelled=mine, later=later))
    return given
