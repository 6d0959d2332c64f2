"""Partitions that deal every node the same share of each class, and those with true groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.base import Late, Partition, Stock
from qsynth.partition.share import Share
from qsynth.schema import option, setting
from qsynth.types import Floats, Ints

DRAWS = 200  # of label shares, until one can be dealt


@option("partition")
@dataclass(frozen=True)
class Classwise(Partition):
    """What partitions have that deal so many samples of each class to each node."""

    def counts(
        self, stock: Ints, nodes: int, rng: np.random.Generator
    ) -> tuple[Ints, list[int | None]]:
        """Return (nodes, C) samples of each class to deal, and each node's true group.

        stock: (C,) samples that there are.
        """
        raise NotImplementedError

    def deal(self, stock: Stock, rng: np.random.Generator) -> list[Share]:
        """Return each node's share."""
        labels, classes, nodes = stock.labels, stock.classes, stock.nodes
        wanted, groups = self.counts(np.bincount(labels, minlength=classes), nodes, rng)
        drifting = self.drifting(nodes, rng)
        # Who drifts is dealt a second share at once, so that nothing overlaps.
        both = np.concatenate([wanted, wanted[drifting]])
        dealt = self.take(labels, classes, both, rng)
        seen = self.seen(classes, rng)
        groups = [*groups, *(((groups[node] or 0) + 1) % len(seen) for node in drifting)]
        shares = []
        for indices, group in zip(dealt, groups, strict=True):
            turns, label_map = seen[group or 0]
            shares.append(Share(*self.split(indices, labels, rng), group, turns, label_map))
        for at, node in enumerate(drifting):
            shares[node] = replace(shares[node], later=shares[nodes + at])
        return shares[:nodes]

    def drifting(self, nodes: int, rng: np.random.Generator) -> list[int]:
        """Return the nodes that drift, sorted."""
        return []

    def seen(self, classes: int, rng: np.random.Generator) -> list[tuple[int, Ints]]:
        """Return for each group its quarter turns of every image, and what it calls each label."""
        return [(0, np.arange(classes))]

    def take(
        self, labels: Ints, classes: int, wanted: Ints, rng: np.random.Generator
    ) -> list[Ints]:
        """Return each row's samples.  wanted: (rows, C) how many of each class."""
        needed, stock = wanted.sum(axis=0), np.bincount(labels, minlength=classes)
        short = np.flatnonzero(needed > stock)
        if len(short):
            c = int(short[0])
            raise ConfigError(
                f"partition.samples_per_node={self.samples_per_node}: {len(wanted)} nodes need "
                f"{needed[c]} samples of class {c}, the data have {stock[c]}"
            )
        dealt: list[list[Ints]] = [[] for _ in wanted]
        for c in range(classes):
            pool, at = rng.permutation(np.flatnonzero(labels == c)), 0
            for node, count in enumerate(wanted[:, c]):
                dealt[node].append(pool[at : at + count])
                at += count
        return [np.sort(np.concatenate(parts)) for parts in dealt]


@option("partition")
@dataclass(frozen=True)
class Even(Classwise, Late):
    """What partitions have that deal every node the same share of each class."""

    label_shares: tuple[float, ...] = setting(
        [], "of each class in every node's samples, adding up to 1; empty: even", low=0.0, high=1.0
    )

    def alpha(self) -> float | None:
        """Return the concentration of each node's labels; None: even."""
        return None

    def allowed(self, groups: Sequence[int | None], classes: int, rng: np.random.Generator) -> Any:
        """Return (nodes, C) which classes each node may have."""
        return np.ones((len(groups), classes), bool)

    def groups_of(self, nodes: int) -> list[int | None]:
        """Return each node's true group."""
        return [None] * nodes

    def counts(
        self, stock: Ints, nodes: int, rng: np.random.Generator
    ) -> tuple[Ints, list[int | None]]:
        """Return (nodes, C) samples of each class to deal, and each node's true group."""
        groups = self.groups_of(nodes)
        allowed = self.allowed(groups, len(stock), rng)
        alpha = self.alpha()
        if self.samples_per_node is None and alpha is not None:
            raise ConfigError(f"partition.label_alpha={alpha}: needs partition.samples_per_node")
        if len(self.label_shares):
            self._check_label_shares(len(stock))
        few = self.newcomers(nodes)
        if self.samples_per_node is None:
            holders = np.maximum(allowed.sum(axis=0), 1)
            return allowed * (stock // holders), groups
        if alpha is not None:
            return self._skewed(allowed, stock, self.samples_per_node, alpha, rng), groups
        counts = self._spread(allowed, self.samples_per_node)
        counts[few] = self._spread(allowed[few], self.newcomer_samples)
        return counts, groups

    def newcomers(self, nodes: int) -> list[int]:
        """Return the nodes that come late: the last ones."""
        few = super().newcomers(nodes)
        if few and (self.samples_per_node is None or self.alpha()):
            raise ConfigError(
                f"partition.newcomer_share={self.newcomer_share}: needs "
                "partition.samples_per_node and no label_alpha"
            )
        return few

    def by_classes(self) -> str | None:
        """Return a setting that deals by classes, where one is set."""
        return super().by_classes() or ("label_shares" if self.label_shares else None)

    def _spread(self, allowed: Any, samples: int) -> Ints:
        """Return (nodes, C) with `samples` a row, evenly or in the shares wanted."""
        if len(self.label_shares):
            return in_shares(allowed, samples, self.label_shares)
        return _even(allowed, samples)

    def _skewed(
        self, allowed: Any, stock: Ints, samples: int, alpha: float, rng: np.random.Generator
    ) -> Ints:
        """Return (nodes, C) counts: each node's labels follow a Dirichlet draw over its classes."""
        for _ in range(DRAWS):
            counts = np.zeros(allowed.shape, np.int64)
            for node, row in enumerate(allowed):
                mine = np.flatnonzero(row)
                shares = rng.dirichlet(np.full(len(mine), alpha))
                counts[node, mine] = rng.multinomial(samples, shares)
            if (counts.sum(axis=0) <= stock).all():
                return counts
        raise ConfigError(
            f"partition.samples_per_node={samples}: {DRAWS} draws with "
            f"label_alpha={alpha} asked for more of some class than there is"
        )

    def _check_label_shares(self, classes: int) -> None:
        given = list(self.label_shares)
        if len(given) != classes or abs(sum(given) - 1.0) > 1e-6:
            raise ConfigError(
                f"partition.label_shares={given}: needs {classes} numbers that add up to 1"
            )
        if self.samples_per_node is None or self.alpha() is not None:
            raise ConfigError(
                "partition.label_shares: needs partition.samples_per_node, and no label_alpha"
            )


@option("partition")
@dataclass(frozen=True)
class Grouped(Even):
    """What every partition with true groups has."""

    label_alpha: float | None = setting(
        None, "Dirichlet concentration of each node's labels; null: even", low=1e-3
    )
    drift_period: int | None = setting(
        None, "from which some nodes are in the next group, with new samples; null: never", low=1
    )
    drift_share: float = setting(0.5, "of the nodes that drift", low=0.0, high=1.0)
    group_sizes: tuple[int, ...] = setting([], "nodes of each group; empty: in turn", low=0)
    groups: int = setting(4, "true groups", low=1)

    def groups_of(self, nodes: int) -> list[int | None]:
        """Return each node's true group: in turn, or as many of each as `group_sizes` says."""
        sizes = self.group_sizes
        if not sizes:
            return [node % self.groups for node in range(nodes)]
        if len(sizes) != self.groups or sum(sizes) != nodes:
            raise ConfigError(
                f"partition.group_sizes={list(sizes)}: needs {self.groups} numbers that add up to "
                f"the fleet's {nodes} nodes"
            )
        return [group for group, size in enumerate(sizes) for _ in range(size)]

    def has_groups(self) -> bool:
        """Return whether nodes have true groups, for measurements."""
        return True

    def alpha(self) -> float | None:
        """Return the concentration of each node's labels; None: even."""
        return self.label_alpha

    def drift(self) -> int | None:
        """Return the period from which some nodes are in the next group; None: never."""
        return self.drift_period

    def drifting(self, nodes: int, rng: np.random.Generator) -> list[int]:
        """Return the nodes that drift, sorted."""
        if self.drift_period is None:
            return []
        count = round(self.drift_share * nodes)
        return sorted(rng.permutation(nodes)[:count].tolist())

    def seen(self, classes: int, rng: np.random.Generator) -> list[tuple[int, Ints]]:
        """Return for each group its quarter turns of every image, and what it calls each label."""
        return [(0, np.arange(classes)) for _ in range(self.groups)]


def in_shares(allowed: Any, samples: int, shares: Sequence[float]) -> Ints:
    """Return (nodes, C): every node's samples in the shares wanted, by largest remainders."""
    wanted: Floats = allowed * np.array(shares)
    if (wanted.sum(axis=1) <= 0.0).any():
        raise ConfigError(
            f"partition.label_shares={list(shares)}: some group has no share of any of its labels"
        )
    exact = samples * wanted / np.maximum(wanted.sum(axis=1, keepdims=True), 1e-12)
    counts: Ints = np.floor(exact + 1e-9).astype(np.int64)
    for node, row in enumerate(exact - counts):
        lacking = samples - int(counts[node].sum())
        for c in np.argsort(-row, kind="stable")[:lacking]:
            counts[node, c] += 1
    return counts


def _even(allowed: Any, samples: int) -> Ints:
    """Return (nodes, C) with `samples` a row, spread evenly over the allowed classes."""
    counts = np.zeros(allowed.shape, np.int64)
    for node, row in enumerate(allowed):
        mine = np.flatnonzero(row)
        counts[node, mine] = samples // len(mine)
        # The rest goes to other classes on other nodes, so that no class is short everywhere.
        extra = (np.arange(samples % len(mine)) + node) % len(mine)
        counts[node, mine[extra]] += 1
    return counts
