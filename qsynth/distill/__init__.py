"""Distillation: a learner's snapshot becomes the payload of a packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.distill.analytic import check_size, dimensions, distil, payload_statistics

__all__ = ["check_size", "dimensions", "distil", "payload_statistics"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from qsynth.distill import analytic

        return getattr(analytic, name)
    raise AttributeError(name)
