"""Data sets, and the tasks that they declare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.data.dataset import DataSet
    from qsynth.data.load import load_data

__all__ = ["DataSet", "load_data"]
__getattr__ = exports(__name__, {"DataSet": "dataset", "load_data": "load"})
