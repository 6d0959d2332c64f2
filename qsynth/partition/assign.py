"""Deal samples to nodes: by a partition, then further ones without labels, and liars.

Nothing overlaps: a sample belongs to one node and to one of its three parts; the test set is
apart from the start.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.base import Partition, Stock
from qsynth.partition.share import Share
from qsynth.types import Ints


def assign_samples(
    partition: Partition,
    labels: Ints,
    classes: int,
    nodes: int,
    seed: int,
    site: Ints | None = None,
    shape: tuple[int, ...] = (),
) -> list[Share]:
    """Return each node's share of (n,) labels.

    seed: of the run, used where `partition.seed` is null.  site: (n,) the data's `node` array.
    shape: of one input, which rotations need.  Raises ConfigError where it cannot be done.
    """
    rng = np.random.default_rng([seed if partition.seed is None else partition.seed, 4])
    shares = partition.deal(Stock(labels, classes, nodes, site, shape), rng)
    every = [*shares, *(s.later for s in shares if s.later is not None)]
    dealt = np.concatenate([part for s in every for part in (s.train, s.validation, s.audit)])
    shares = _with_liars(partition, shares, classes, rng)
    return _with_unlabelled(partition, shares, dealt, len(labels), rng)


def _with_unlabelled(
    partition: Partition, shares: list[Share], dealt: Ints, samples: int, rng: np.random.Generator
) -> list[Share]:
    """Return the shares with samples that nobody else has, drawn whatever their labels are."""
    count = partition.unlabelled_per_node
    if count == 0:
        return shares
    rest = rng.permutation(np.setdiff1d(np.arange(samples), dealt))
    if len(rest) < count * len(shares):
        raise ConfigError(
            f"partition.unlabelled_per_node={count}: {len(shares)} nodes need "
            f"{count * len(shares)} samples, {len(rest)} are left"
        )
    given = []
    for node, share in enumerate(shares):
        mine = np.sort(rest[node * count : (node + 1) * count])
        later = None if share.later is None else replace(share.later, unlabelled=mine)
        given.append(replace(share, unlabelled=mine, later=later))
    return given


def _with_liars(
    partition: Partition, shares: list[Share], classes: int, rng: np.random.Generator
) -> list[Share]:
    """Return the shares with some nodes naming every label by the next one."""
    count = min(round(partition.liar_share * len(shares)), len(shares) - 1)
    liars = set(rng.permutation(len(shares))[:count].tolist()) if count > 0 else set()

    def lying(share: Share) -> Share:
        later = None if share.later is None else lying(share.later)
        label_map = (share.label_map + 1) % classes
        return replace(share, label_map=label_map, honest=False, later=later)

    return [lying(share) if node in liars else share for node, share in enumerate(shares)]
