"""What a data option's samples look like: for plans, before any training."""

from __future__ import annotations

from qsynth.data.base import DataOptions, Layout, layout_of_data
from qsynth.data.load import load_data
from qsynth.data.task import Declared, FromData


def layout_of(config: DataOptions, task: FromData | Declared) -> Layout | None:
    """Return the layout of a `data` config; None of a user's own module.

    Bundled data are known without reading them; a file is read, so that a plan refuses what a run
    refuses.  Raises ConfigError or DataError.
    """
    known = config.layout()
    if known is not None or config.own_code:
        return known
    return layout_of_data(load_data(config, task))
