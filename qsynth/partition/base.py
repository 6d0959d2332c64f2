"""What a partition is: how samples are dealt to nodes, and each node's to three parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.share import Share
from qsynth.schema import option, setting
from qsynth.types import Ints


@dataclass(frozen=True)
class Stock:
    """Say what there is to deal, and to how many.

    labels: (n,) class indices below `classes`.  site: (n,) the data's `node` array.  shape: of one
    input.
    """

    labels: Ints
    classes: int
    nodes: int
    site: Ints | None = None
    shape: tuple[int, ...] = ()


@option("partition")
@dataclass(frozen=True)
class Partition:
    """How samples are dealt to nodes.  An option subclasses it and gives `deal`."""

    seed: int | None = setting(None, "of the dealing; null: the run's seed", low=0)
    samples_per_node: int | None = setting(None, "dealt to each node; null: all there are", low=4)
    validation_share: float = setting(0.2, "of a node's samples", low=0.0, high=0.8)
    audit_share: float = setting(0.0, "of a node's samples, for the audit alone", low=0.0, high=0.8)
    unlabelled_per_node: int = setting(
        0, "further samples of each node whose labels nobody looks at", low=0
    )
    liar_share: float = setting(
        0.0,
        "of the nodes name every label by the next one; only honest nodes are measured",
        low=0.0,
        high=0.9,
    )
    liars_publish: bool = setting(True, "whether those nodes send packets")

    def check(self) -> None:
        """Raise ConfigError where too little is left to train on."""
        if self.validation_share + self.audit_share > 0.9:
            raise ConfigError("partition.validation_share + partition.audit_share: must be <= 0.9")

    of_targets: ClassVar[bool] = False  # whether it deals labels and values too
    turns: ClassVar[bool] = False  # whether it changes images
    one_situation: ClassVar[bool] = False  # whether all nodes see the same world
    of_sites: ClassVar[bool] = False  # whether it goes by the data's `node` array

    def deal(self, stock: Stock, rng: np.random.Generator) -> list[Share]:
        """Return each node's share.  Raises ConfigError where it cannot be done."""
        raise NotImplementedError

    def drift(self) -> int | None:
        """Return the period from which some nodes have other data; None: never."""
        return None

    def newcomers(self, nodes: int) -> list[int]:
        """Return the nodes that come late."""
        return []

    def has_groups(self) -> bool:
        """Return whether nodes have true groups, for measurements."""
        return False

    def by_classes(self) -> str | None:
        """Return a setting that deals by classes, where one is set."""
        return "liar_share" if self.liar_share else None

    def split(
        self, indices: Ints, labels: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Ints, Ints]:
        """Return sorted training, validation and audit indices, each class split in proportion."""
        shuffled = rng.permutation(indices)
        # Walk through the classes in turn: any stretch then holds each class in proportion.
        rank = np.zeros(len(shuffled))
        for c in np.unique(labels[shuffled]):
            mine = np.flatnonzero(labels[shuffled] == c)
            rank[mine] = (np.arange(len(mine)) + rng.random()) / len(mine)
        ordered = shuffled[np.argsort(rank, kind="stable")]
        validation = round(self.validation_share * len(ordered))
        audit = round(self.audit_share * len(ordered))
        cut = len(ordered) - validation - audit
        parts = ordered[:cut], ordered[cut : cut + validation], ordered[cut + validation :]
        return np.sort(parts[0]), np.sort(parts[1]), np.sort(parts[2])


@option("partition")
@dataclass(frozen=True)
class Late(Partition):
    """What partitions have where some nodes can come late."""

    newcomer_share: float = setting(
        0.0, "of the nodes come late, with few samples", low=0.0, high=0.9
    )
    newcomer_samples: int = setting(40, "dealt to each newcomer", low=4)
    newcomer_period: int = setting(3, "in which newcomers begin, of the others' periods", low=0)

    def newcomers(self, nodes: int) -> list[int]:
        """Return the nodes that come late: the last ones."""
        few = self.few(nodes)
        return list(range(nodes - few, nodes))

    def few(self, nodes: int) -> int:
        """Return how many nodes come late."""
        return min(round(self.newcomer_share * nodes), nodes - 1)
