"""Deal samples to nodes, and split each node's into training, validation and audit.

Nothing overlaps: a sample belongs to one node and to one of its three parts; the test set is
apart from the start.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.config import (
    Dirichlet,
    Grouped,
    LabelGroups,
    LabelSwap,
    Late,
    Natural,
    Rotations,
)
from qsynth.types import Floats, Floats32, Ints

DIRICHLET_TRIES = 200


@dataclass(frozen=True)
class Share:
    """Say which samples a node has, and how it sees them.

    train, validation, audit: sorted indices, disjoint.  group: the true group, for
    measurements alone.  quarter_turns: of every image.  label_map: (C,) what each label is
    called in this group.  site: the value of the data's `node` array.  honest: whether the node
    names its labels as the others do.  unlabelled: indices of samples whose labels nobody uses,
    or of the data's further inputs.
    later: what the node has from `drift_period` on; None: the same.
    """

    train: Ints
    validation: Ints
    audit: Ints
    group: int | None
    quarter_turns: int
    label_map: Ints
    site: int | None = None
    honest: bool = True
    unlabelled: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    later: Share | None = None

    def inputs(self, inputs: Floats32) -> Floats32:
        """Return (n, ...) inputs as this node sees them."""
        if self.quarter_turns % 4 == 0:
            return inputs
        return np.ascontiguousarray(np.rot90(inputs, self.quarter_turns, axes=(2, 3)))

    def labels(self, labels: Any) -> Any:
        """Return (n,) labels as this node names them; (n, K) targets as they are."""
        if labels.ndim == 2:
            return labels
        named: Ints = self.label_map[labels]
        return named


def assign_samples(
    config: Any,
    labels: Ints,
    classes: int,
    nodes: int,
    seed: int,
    site: Ints | None = None,
    shape: tuple[int, ...] = (),
) -> list[Share]:
    """Return each node's share of (n,) labels.

    seed: of the run, used where `config.seed` is null.  site: (n,) the data's `node` array.
    shape: of one input, which rotations need.  Raises ConfigError where it cannot be done.
    """
    rng = np.random.default_rng([seed if config.seed is None else config.seed, 4])
    if isinstance(config, Natural):
        shares = _natural(config, labels, classes, nodes, site, rng)
        return _with_more(config, shares, labels, classes, rng)
    if isinstance(config, Rotations) and (len(shape) != 3 or shape[1] != shape[2]):
        raise ConfigError("partition.name=rotations: needs square images")
    wanted, groups = _counts(config, labels, classes, nodes, rng)
    drifting = _drifting(config, nodes, rng)
    # Who drifts is dealt a second share at once, so that nothing overlaps.
    both = np.concatenate([wanted, wanted[drifting]])
    dealt = _take(labels, classes, both, rng, config)
    maps = _label_maps(config, classes, rng)
    groups = [*groups, *((groups[node] or 0) + 1 for node in drifting)]
    shares = []
    for node, indices in enumerate(dealt):
        group = groups[node]
        if group is not None and len(drifting):
            group %= config.groups
        turns = group if isinstance(config, Rotations) and group is not None else 0
        parts = _split(indices, labels, config, rng)
        label_map = maps[group] if maps and group is not None else np.arange(classes)
        shares.append(Share(*parts, group, turns, label_map))
    for at, node in enumerate(drifting):
        shares[node] = replace(shares[node], later=shares[nodes + at])
    del shares[nodes:]
    return _with_more(config, shares, labels, classes, rng)


def _with_more(
    config: Any, shares: list[Share], labels: Ints, classes: int, rng: np.random.Generator
) -> list[Share]:
    every = [*shares, *(s.later for s in shares if s.later is not None)]
    parts = [part for s in every for part in (s.train, s.validation, s.audit)]
    shares = _with_liars(config, shares, classes, rng)
    return _with_unlabelled(config, shares, np.concatenate(parts), len(labels), rng)


def _with_unlabelled(
    config: Any, shares: list[Share], dealt: Ints, samples: int, rng: np.random.Generator
) -> list[Share]:
    """Return the shares with samples that nobody else has, drawn whatever their labels are."""
    count = config.unlabelled_per_node
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
    config: Any, shares: list[Share], classes: int, rng: np.random.Generator
) -> list[Share]:
    """Return the shares with some nodes naming every label by the next one."""
    count = min(round(config.liar_share * len(shares)), len(shares) - 1)
    liars = set(rng.permutation(len(shares))[:count].tolist()) if count > 0 else set()

    def lying(share: Share) -> Share:
        later = None if share.later is None else lying(share.later)
        label_map = (share.label_map + 1) % classes
        return replace(share, label_map=label_map, honest=False, later=later)

    return [lying(share) if node in liars else share for node, share in enumerate(shares)]


def _counts(
    config: Any, labels: Ints, classes: int, nodes: int, rng: np.random.Generator
) -> tuple[Ints, list[int | None]]:
    """Return (nodes, C) samples of each class to deal, and each node's true group."""
    stock = np.bincount(labels, minlength=classes)
    if isinstance(config, Dirichlet):
        group = 0 if config.one_group else None
        return _dirichlet(config, stock, nodes, rng), [group] * nodes
    groups: list[int | None] = [None] * nodes
    allowed = np.ones((nodes, classes), bool)
    if isinstance(config, (LabelGroups, Rotations, LabelSwap)):
        groups = _groups(config, nodes)
    if isinstance(config, LabelGroups):
        if config.labels_per_group > classes:
            raise ConfigError(
                f"partition.labels_per_group={config.labels_per_group}: the task has {classes}"
            )
        order = rng.permutation(classes)
        for node in range(nodes):
            group = groups[node] or 0
            start = group * classes // config.groups
            chosen = order[(start + np.arange(config.labels_per_group)) % classes]
            allowed[node] = np.isin(np.arange(classes), chosen)
    if config.samples_per_node is None and getattr(config, "label_alpha", None) is not None:
        raise ConfigError(
            f"partition.label_alpha={config.label_alpha}: needs partition.samples_per_node"
        )
    if len(getattr(config, "label_shares", ())):
        _check_label_shares(config, classes)
    newcomers(config, nodes)
    if config.samples_per_node is None:
        holders = np.maximum(allowed.sum(axis=0), 1)
        return allowed * (stock // holders), groups
    if getattr(config, "label_alpha", None) is not None:
        return _skewed(config, allowed, stock, rng), groups
    counts = _spread(config, allowed, config.samples_per_node)
    few = newcomers(config, nodes)
    counts[few] = _spread(config, allowed[few], config.newcomer_samples)
    return counts, groups


def _drifting(config: Any, nodes: int, rng: np.random.Generator) -> list[int]:
    """Return the nodes that drift, sorted."""
    if getattr(config, "drift_period", None) is None:
        return []
    if isinstance(config, LabelGroups):
        raise ConfigError("partition.drift_period: not for label_groups, whose labels would change")
    count = round(config.drift_share * nodes)
    return sorted(rng.permutation(nodes)[:count].tolist())


def _groups(config: Any, nodes: int) -> list[int | None]:
    """Return each node's true group: in turn, or as many of each as `group_sizes` says."""
    sizes = config.group_sizes
    if not sizes:
        return [node % config.groups for node in range(nodes)]
    if len(sizes) != config.groups or sum(sizes) != nodes:
        raise ConfigError(
            f"partition.group_sizes={list(sizes)}: needs {config.groups} numbers that add up to "
            f"the fleet's {nodes} nodes"
        )
    return [group for group, size in enumerate(sizes) for _ in range(size)]


def _skewed(config: Any, allowed: Any, stock: Ints, rng: np.random.Generator) -> Ints:
    """Return (nodes, C) counts: each node's labels follow a Dirichlet draw over its classes."""
    for _ in range(DIRICHLET_TRIES):
        counts = np.zeros(allowed.shape, np.int64)
        for node, row in enumerate(allowed):
            mine = np.flatnonzero(row)
            shares = rng.dirichlet(np.full(len(mine), config.label_alpha))
            counts[node, mine] = rng.multinomial(config.samples_per_node, shares)
        if (counts.sum(axis=0) <= stock).all():
            return counts
    raise ConfigError(
        f"partition.samples_per_node={config.samples_per_node}: {DIRICHLET_TRIES} draws with "
        f"label_alpha={config.label_alpha} asked for more of some class than there is"
    )


def _check_label_shares(config: Any, classes: int) -> None:
    given = list(config.label_shares)
    if len(given) != classes or abs(sum(given) - 1.0) > 1e-6:
        raise ConfigError(
            f"partition.label_shares={given}: needs {classes} numbers that add up to 1"
        )
    if config.samples_per_node is None or getattr(config, "label_alpha", None) is not None:
        raise ConfigError(
            "partition.label_shares: needs partition.samples_per_node, and no label_alpha"
        )


def newcomers(config: Any, nodes: int) -> list[int]:
    """Return the nodes that come late: the last ones."""
    share = config.newcomer_share if isinstance(config, Late) else 0.0
    few = min(round(share * nodes), nodes - 1)
    natural = isinstance(config, Natural)  # whose sites have what they have
    skewed = isinstance(config, Grouped) and config.label_alpha
    if few and not natural and (config.samples_per_node is None or skewed):
        raise ConfigError(
            f"partition.newcomer_share={share}: needs partition.samples_per_node and no label_alpha"
        )
    return list(range(nodes - few, nodes))


def _spread(config: Any, allowed: Any, samples: int) -> Ints:
    """Return (nodes, C) with `samples` a row, evenly or in the shares wanted."""
    if len(getattr(config, "label_shares", ())):
        return _in_shares(config, allowed, samples)
    return _even(allowed, samples)


def _in_shares(config: Any, allowed: Any, samples: int) -> Ints:
    """Return (nodes, C): every node's samples in the shares wanted, by largest remainders."""
    wanted: Floats = allowed * np.array(config.label_shares)
    if (wanted.sum(axis=1) <= 0.0).any():
        raise ConfigError(
            f"partition.label_shares={list(config.label_shares)}: some group has no share of any "
            "of its labels"
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


def _dirichlet(config: Dirichlet, stock: Ints, nodes: int, rng: np.random.Generator) -> Ints:
    for _ in range(DIRICHLET_TRIES):
        if config.samples_per_node is None:
            shares = rng.dirichlet(np.full(nodes, config.alpha), size=len(stock))
            edges = np.floor(np.cumsum(shares, axis=1) * stock[:, None]).astype(np.int64)
            edges[:, -1] = stock
            counts = np.diff(edges, axis=1, prepend=0).T
        else:
            shares = rng.dirichlet(np.full(len(stock), config.alpha), size=nodes)
            counts = np.stack([rng.multinomial(config.samples_per_node, p) for p in shares])
            if (counts.sum(axis=0) > stock).any():
                continue
        if counts.sum(axis=1).min() >= config.min_samples:
            return counts
    most = int(stock.sum()) // nodes
    if config.samples_per_node is None and most < config.min_samples:
        raise ConfigError(
            f"partition.min_samples={config.min_samples}: {int(stock.sum())} samples make {most} "
            f"for each of {nodes} nodes; lower it, or have fewer nodes (fleet.NAME.count)"
        )
    raise ConfigError(
        f"partition.min_samples={config.min_samples}: {DIRICHLET_TRIES} draws with "
        f"alpha={config.alpha} gave some node fewer; raise alpha or lower min_samples"
    )


def _take(
    labels: Ints, classes: int, wanted: Ints, rng: np.random.Generator, config: Any
) -> list[Ints]:
    needed, stock = wanted.sum(axis=0), np.bincount(labels, minlength=classes)
    short = np.flatnonzero(needed > stock)
    if len(short):
        c = int(short[0])
        raise ConfigError(
            f"partition.samples_per_node={config.samples_per_node}: {len(wanted)} nodes need "
            f"{needed[c]} samples of class {c}, the data have {stock[c]}"
        )
    dealt: list[list[Ints]] = [[] for _ in wanted]
    for c in range(classes):
        pool, at = rng.permutation(np.flatnonzero(labels == c)), 0
        for node, count in enumerate(wanted[:, c]):
            dealt[node].append(pool[at : at + count])
            at += count
    return [np.sort(np.concatenate(parts)) for parts in dealt]


def _split(
    indices: Ints, labels: Ints, config: Any, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Return sorted training, validation and audit indices, each class split in proportion."""
    shuffled = rng.permutation(indices)
    # Walk through the classes in turn: any stretch then holds each class in proportion.
    rank = np.zeros(len(shuffled))
    for c in np.unique(labels[shuffled]):
        mine = np.flatnonzero(labels[shuffled] == c)
        rank[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
    ordered = shuffled[np.argsort(rank, kind="stable")]
    validation = round(config.validation_share * len(ordered))
    audit = round(config.audit_share * len(ordered))
    cut = len(ordered) - validation - audit
    parts = ordered[:cut], ordered[cut : cut + validation], ordered[cut + validation :]
    return np.sort(parts[0]), np.sort(parts[1]), np.sort(parts[2])


def _label_maps(config: Any, classes: int, rng: np.random.Generator) -> list[Ints]:
    if not isinstance(config, LabelSwap):
        return []
    if config.swapped > classes:
        raise ConfigError(f"partition.swapped={config.swapped}: the task has {classes} labels")
    maps = [np.arange(classes)]
    for _ in range(1, config.groups):
        chosen = rng.choice(classes, size=config.swapped, replace=False)
        label_map = np.arange(classes)
        label_map[chosen] = np.roll(chosen, 1)
        maps.append(label_map)
    return maps


def check_sites(sites: int, nodes: int) -> None:
    """Raise ConfigError where there is not one node a site."""
    if sites != nodes:
        raise ConfigError(
            f"partition.name=natural: the data have {sites} sites, the fleet {nodes} nodes; "
            f"give its groups {sites} in all, e.g. fleet.mlp.count={sites}, the others 0"
        )


def _natural(
    config: Natural,
    labels: Ints,
    classes: int,
    nodes: int,
    site: Ints | None,
    rng: np.random.Generator,
) -> list[Share]:
    if site is None:
        raise ConfigError("partition.name=natural: the data have no `node` array")
    sites = np.unique(site)
    check_sites(len(sites), nodes)
    shares, late = [], set(newcomers(config, nodes))
    for node, value in enumerate(sites):
        indices = np.flatnonzero(site == value)
        most = config.newcomer_samples if node in late else config.samples_per_node
        if most is not None:
            indices = np.sort(rng.permutation(indices)[:most])
        parts = _split(indices, labels, config, rng)
        shares.append(Share(*parts, None, 0, np.arange(classes), int(value)))
    return shares
