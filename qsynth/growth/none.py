"""The option `none`: records do not come while nodes run."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.growth.base import Growth
from qsynth.schema import option, setting


@option("growth")
@dataclass(frozen=True)
class NoGrowth(Growth):
    """All records are there from the start."""

    name: str = setting("none", "the option's name", choices=("none",))
