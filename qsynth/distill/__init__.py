"""Distillation: a learner's snapshot becomes the payload of a packet.

A rule is one module with its options class (`DistillRule`): `analytic`, `class_logits`,
`reference_logits`, `mosaic`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.distill.analytic import DistillRule, Source, distil
    from qsynth.distill.class_means import ClassMeans
    from qsynth.distill.coding import payload_statistics
    from qsynth.distill.evidence import Evidence, leaves_of, read_evidence
    from qsynth.distill.sums import Part, add, agrees
    from qsynth.distill.targets import check_target_size, distil_targets, target_dimensions

__all__ = [
    "ClassMeans",
    "DistillRule",
    "Evidence",
    "Part",
    "Source",
    "add",
    "agrees",
    "check_target_size",
    "distil",
    "distil_targets",
    "leaves_of",
    "payload_statistics",
    "read_evidence",
    "target_dimensions",
]
__getattr__ = exports(
    __name__,
    {
        "distil": "analytic",
        "DistillRule": "analytic",
        "Source": "analytic",
        "ClassMeans": "class_means",
        "payload_statistics": "coding",
        "Evidence": "evidence",
        "leaves_of": "evidence",
        "read_evidence": "evidence",
        "Part": "sums",
        "add": "sums",
        "agrees": "sums",
        "check_target_size": "targets",
        "distil_targets": "targets",
        "target_dimensions": "targets",
    },
)
