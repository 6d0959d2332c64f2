"""The partition `label_groups`: each group of nodes has its own subset of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.even import Grouped
from qsynth.schema import option, setting


@option("partition")
@dataclass(frozen=True)
class LabelGroups(Grouped):
    """Give each group of nodes its own subset of the labels."""

    name: str = setting("label_groups", "the option's name", choices=("label_groups",))
    labels_per_group: int = setting(5, "labels that a group has", low=2)

    def allowed(self, groups: Sequence[int | None], classes: int, rng: np.random.Generator) -> Any:
        """Return (nodes, C) which classes each node may have."""
        if self.labels_per_group > classes:
            raise ConfigError(
                f"partition.labels_per_group={self.labels_per_group}: the task has {classes}"
            )
        order, allowed = rng.permutation(classes), np.zeros((len(groups), classes), bool)
        for node, group in enumerate(groups):
            start = (group or 0) * classes // self.groups
            chosen = order[(start + np.arange(self.labels_per_group)) % classes]
            allowed[node] = np.isin(np.arange(classes), chosen)
        return allowed

    def drifting(self, nodes: int, rng: np.random.Generator) -> list[int]:
        """Raise ConfigError where nodes are to drift."""
        if self.drift_period is not None:
            raise ConfigError(
                "partition.drift_period: not for label_groups, whose labels would change"
            )
        return []
