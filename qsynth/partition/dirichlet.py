"""The partition `dirichlet`: each class in shares drawn from a Dirichlet distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.even import DRAWS, Classwise
from qsynth.schema import option, setting
from qsynth.types import Ints


@option("partition")
@dataclass(frozen=True)
class Dirichlet(Classwise):
    """Deal each class in shares drawn from a Dirichlet distribution (Hsu 2019)."""

    name: str = setting("dirichlet", "the option's name", choices=("dirichlet",))
    alpha: float = setting(0.3, "concentration: smaller is more skewed", low=1e-3)
    min_samples: int = setting(10, "a node has at least", low=1)
    one_group: bool = setting(
        False, "call the whole fleet one true group: measure it on uniform labels too"
    )

    one_situation: ClassVar[bool] = True

    def has_groups(self) -> bool:
        """Return whether nodes have true groups, for measurements."""
        return self.one_group

    def counts(
        self, stock: Ints, nodes: int, rng: np.random.Generator
    ) -> tuple[Ints, list[int | None]]:
        """Return (nodes, C) samples of each class to deal, and each node's true group."""
        group = 0 if self.one_group else None
        return self._drawn(stock, nodes, rng), [group] * nodes

    def _drawn(self, stock: Ints, nodes: int, rng: np.random.Generator) -> Ints:
        for _ in range(DRAWS):
            if self.samples_per_node is None:
                shares = rng.dirichlet(np.full(nodes, self.alpha), size=len(stock))
                edges = np.floor(np.cumsum(shares, axis=1) * stock[:, None]).astype(np.int64)
                edges[:, -1] = stock
                counts = np.diff(edges, axis=1, prepend=0).T
            else:
                shares = rng.dirichlet(np.full(len(stock), self.alpha), size=nodes)
                counts = np.stack([rng.multinomial(self.samples_per_node, p) for p in shares])
                if (counts.sum(axis=0) > stock).any():
                    continue
            if counts.sum(axis=1).min() >= self.min_samples:
                return counts
        most = int(stock.sum()) // nodes
        if self.samples_per_node is None and most < self.min_samples:
            raise ConfigError(
                f"partition.min_samples={self.min_samples}: {int(stock.sum())} samples make {most} "
                f"for each of {nodes} nodes; lower it, or have fewer nodes (fleet.NAME.count)"
            )
        raise ConfigError(
            f"partition.min_samples={self.min_samples}: {DRAWS} draws with "
            f"alpha={self.alpha} gave some node fewer; raise alpha or lower min_samples"
        )
