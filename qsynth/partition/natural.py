"""The partition `natural`: one node a site of the data's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsynth.errors import ConfigError
from qsynth.partition.base import Late, Stock
from qsynth.partition.share import Share
from qsynth.schema import option, setting


@option("partition")
@dataclass(frozen=True)
class Natural(Late):
    """Deal by the data's own `node` array: one node a site."""

    name: str = setting("natural", "the option's name", choices=("natural",))

    of_targets: ClassVar[bool] = True
    of_sites: ClassVar[bool] = True

    def newcomers(self, nodes: int) -> list[int]:
        """Return the sites that come late: spread over all, whatever their order means."""
        few = self.few(nodes)
        return [(place + 1) * nodes // few - 1 for place in range(few)]

    def deal(self, stock: Stock, rng: np.random.Generator) -> list[Share]:
        """Return each site's share."""
        site = stock.site
        if site is None:
            raise ConfigError("partition.name=natural: the data have no `node` array")
        sites = np.unique(site)
        check_sites(len(sites), stock.nodes)
        shares, late = [], set(self.newcomers(stock.nodes))
        for node, value in enumerate(sites):
            indices = np.flatnonzero(site == value)
            most = self.newcomer_samples if node in late else self.samples_per_node
            if most is not None:
                indices = np.sort(rng.permutation(indices)[:most])
            parts = self.split(indices, stock.labels, rng)
            shares.append(Share(*parts, None, 0, np.arange(stock.classes), int(value)))
        return shares


def check_sites(sites: int, nodes: int) -> None:
    """Raise ConfigError where there is not one node a site."""
    if sites != nodes:
        raise ConfigError(
            f"partition.name=natural: the data have {sites} sites, the fleet {nodes} nodes; "
            f"give its groups {sites} in all, e.g. fleet.mlp.count={sites}, the others 0"
        )
