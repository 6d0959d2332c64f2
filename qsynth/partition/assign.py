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
from qsynth.schema import name_of
from qsynth.types import Ints


def assign_samples(
    partition: Partition,
    labels: Ints,
    classes: int,
    nodes: int,
    seed: int,
    site: Ints | None = None,
    shape: tuple[int, ...] = (),
    batch: Ints | None = None,
) -> list[Share]:
    """Return each node's share of (n,) labels.

    seed: of the run, used where `partition.seed` is null.  site: (n,) the data's `node` array.
    shape: of one input, which rotations need.  batch: (n,) in which batch each came, where there
    are several.  Raises ConfigError where it cannot be done.
    """
    seed = seed if partition.seed is None else partition.seed
    rng = np.random.default_rng([seed, 4])
    if batch is not None and site is not None:
        return _in_batches(partition, labels, classes, nodes, seed, site, batch)
    shares = partition.deal(Stock(labels, classes, nodes, site, shape), rng)
    every = [*shares, *(s.later for s in shares if s.later is not None)]
    dealt = np.concatenate([part for s in every for part in (s.train, s.validation, s.audit)])
    shares = _with_liars(partition, shares, classes, rng)
    return _with_unlabelled(partition, shares, dealt, len(labels), rng)


def _in_batches(
    partition: Partition, labels: Ints, classes: int, nodes: int, seed: int, site: Ints, batch: Ints
) -> list[Share]:
    """Return each site's share of samples that came in batches, each split by itself.

    So no sample changes its part when others come.  Audit samples are those of the first batch.
    """
    if not partition.of_sites or (partition.samples_per_node or partition.liar_share):
        raise ConfigError(
            f"partition.name={name_of(partition)}: rows that come in batches are dealt by "
            "partition=natural alone, without samples_per_node and liar_share"
        )
    first = batch == 0
    rng = np.random.default_rng([seed, 4])
    shares = partition.deal(Stock(labels[first], classes, nodes, site[first]), rng)
    rows = np.flatnonzero(first)
    made = []
    for share in shares:
        parts = [[rows[share.train]], [rows[share.validation]]]
        ends = [len(share.train)]
        for number in range(1, int(batch.max()) + 1):
            mine = np.flatnonzero((site == share.site) & (batch == number))
            draw = np.random.default_rng([seed, 23, number])
            trained, validated, kept = partition.split(mine, labels, draw)
            parts[0].append(np.sort(np.concatenate([trained, kept])))
            parts[1].append(validated)
            ends.append(ends[-1] + len(parts[0][-1]))
        train, validation = (np.concatenate(part) for part in parts)
        audit = rows[share.audit]
        made.append(
            replace(share, train=train, validation=validation, audit=audit, ends=tuple(ends))
        )
    return made


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
