"""Data sets, and the tasks that they declare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.data.dataset import DataSet
    from qsynth.data.load import load_data

__all__ = ["DataSet", "load_data"]


def __getattr__(name: str) -> Any:
    if name == "DataSet":
        from qsynth.data.dataset import DataSet

        return DataSet
    if name == "load_data":
        from qsynth.data.load import load_data

        return load_data
    raise AttributeError(name)
