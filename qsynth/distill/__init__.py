"""Distillation: a learner's snapshot becomes the payload of a packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.distill.analytic import distil, payload_statistics
    from qsynth.distill.rules import (
        Evidence,
        check_layout,
        check_size,
        dimensions,
        model_arrays,
        mosaic_arrays,
        read_evidence,
        statistics_rule,
    )

__all__ = [
    "Evidence",
    "check_layout",
    "check_size",
    "dimensions",
    "distil",
    "model_arrays",
    "mosaic_arrays",
    "payload_statistics",
    "read_evidence",
    "statistics_rule",
]

_ANALYTIC = ("distil", "payload_statistics")


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        home = "analytic" if name in _ANALYTIC else "rules"
        return getattr(import_module(f"qsynth.distill.{home}"), name)
    raise AttributeError(name)
