"""The partition `rotations`: the images of each group turned by another quarter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.base import Stock
from qsynth.partition.even import Grouped
from qsynth.partition.share import Share
from qsynth.schema import option, setting
from qsynth.types import Ints


@option("partition")
@dataclass(frozen=True)
class Rotations(Grouped):
    """Turn the images of each group by another quarter; labels are dealt evenly."""

    name: str = setting("rotations", "the option's name", choices=("rotations",))
    groups: int = setting(4, "true groups, one a quarter turn", low=1, high=4)

    of_targets: ClassVar[bool] = True
    turns: ClassVar[bool] = True

    def deal(self, stock: Stock, rng: np.random.Generator) -> list[Share]:
        """Return each node's share of square images."""
        if len(stock.shape) != 3 or stock.shape[1] != stock.shape[2]:
            raise ConfigError("partition.name=rotations: needs square images")
        return super().deal(stock, rng)

    def seen(self, classes: int, rng: np.random.Generator) -> list[tuple[int, Ints]]:
        """Return for each group its quarter turns of every image, and what it calls each label."""
        return [(group, np.arange(classes)) for group in range(self.groups)]
