"""The partition `label_swap`: each group has another meaning of the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.even import Grouped
from qsynth.schema import option, setting
from qsynth.types import Ints


@option("partition")
@dataclass(frozen=True)
class LabelSwap(Grouped):
    """Give each group another meaning of the labels: concept shift."""

    name: str = setting("label_swap", "the option's name", choices=("label_swap",))
    groups: int = setting(4, "true groups, each with its own permutation", low=1)
    swapped: int = setting(4, "labels that a group permutes", low=2)

    def seen(self, classes: int, rng: np.random.Generator) -> list[tuple[int, Ints]]:
        """Return for each group its quarter turns of every image, and what it calls each label."""
        if self.swapped > classes:
            raise ConfigError(f"partition.swapped={self.swapped}: the task has {classes} labels")
        maps = [np.arange(classes)]
        for _ in range(1, self.groups):
            chosen = rng.choice(classes, size=self.swapped, replace=False)
            label_map = np.arange(classes)
            label_map[chosen] = np.roll(chosen, 1)
            maps.append(label_map)
        return [(0, label_map) for label_map in maps]
