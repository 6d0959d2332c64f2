"""Distillation: a learner's snapshot becomes the payload of a packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.distill.analytic import distil, payload_statistics
    from qsynth.distill.rules import (
        Evidence,
        check_layout,
        check_size,
        check_target_size,
        dimensions,
        leaves_of,
        model_arrays,
        mosaic_arrays,
        most_classes,
        read_evidence,
        statistics_rule,
    )
    from qsynth.distill.sums import Part, add, agrees
    from qsynth.distill.targets import distil_targets

__all__ = [
    "Evidence",
    "Part",
    "add",
    "agrees",
    "check_layout",
    "check_size",
    "most_classes",
    "check_target_size",
    "distil_targets",
    "dimensions",
    "distil",
    "leaves_of",
    "model_arrays",
    "mosaic_arrays",
    "payload_statistics",
    "read_evidence",
    "statistics_rule",
]

_HOMES = {
    "distil": "analytic",
    "payload_statistics": "analytic",
    "Part": "sums",
    "add": "sums",
    "agrees": "sums",
    "distil_targets": "targets",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"qsynth.distill.{_HOMES.get(name, 'rules')}"), name)
    raise AttributeError(name)
