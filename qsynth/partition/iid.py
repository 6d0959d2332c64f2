"""The partition `iid`: every class dealt evenly to all nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qsynth.partition.even import Even
from qsynth.schema import option, setting


@option("partition")
@dataclass(frozen=True)
class Iid(Even):
    """Deal every class evenly to all nodes."""

    name: str = setting("iid", "the option's name", choices=("iid",))

    of_targets: ClassVar[bool] = True
    one_situation: ClassVar[bool] = True
