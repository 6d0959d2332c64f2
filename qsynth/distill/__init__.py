"""Distillation: a learner's snapshot becomes the payload of a packet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

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
    "check_target_size",
    "dimensions",
    "distil",
    "distil_targets",
    "leaves_of",
    "model_arrays",
    "mosaic_arrays",
    "most_classes",
    "payload_statistics",
    "read_evidence",
    "statistics_rule",
]
__getattr__ = exports(
    __name__,
    {
        "distil": "analytic",
        "payload_statistics": "analytic",
        "Evidence": "rules",
        "check_layout": "rules",
        "check_size": "rules",
        "check_target_size": "rules",
        "dimensions": "rules",
        "leaves_of": "rules",
        "model_arrays": "rules",
        "mosaic_arrays": "rules",
        "most_classes": "rules",
        "read_evidence": "rules",
        "statistics_rule": "rules",
        "Part": "sums",
        "add": "sums",
        "agrees": "sums",
        "distil_targets": "targets",
    },
)
