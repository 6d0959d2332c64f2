"""Synthesis: admitted packets become a better predictor, and a teaching for the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.synthesis.analytic_head import Synthesis, synthesize
    from qsynth.synthesis.head import Head
    from qsynth.synthesis.predictor import Predictor
    from qsynth.synthesis.teach import make_pool

__all__ = ["Head", "Predictor", "Synthesis", "make_pool", "synthesize"]
__getattr__ = exports(
    __name__,
    {
        "Synthesis": "analytic_head",
        "synthesize": "analytic_head",
        "Head": "head",
        "Predictor": "predictor",
        "make_pool": "teach",
    },
)
