"""Synthesis: admitted packets become a better predictor, and a teaching for the network.

A rule is one module with its options class (`base.SynthesisRule`): `analytic_head`, `ridge`,
`class_kd`, `reference_kd`, `replay`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.synthesis.analytic_head import synthesize
    from qsynth.synthesis.base import OwnData, Packets, Synthesis, SynthesisRule
    from qsynth.synthesis.head import Head
    from qsynth.synthesis.head_rule import HeadRule
    from qsynth.synthesis.own_evidence import OwnEvidence

__all__ = [
    "Head",
    "HeadRule",
    "OwnData",
    "OwnEvidence",
    "Packets",
    "Synthesis",
    "SynthesisRule",
    "synthesize",
]
__getattr__ = exports(
    __name__,
    {
        "synthesize": "analytic_head",
        "OwnData": "base",
        "Packets": "base",
        "Synthesis": "base",
        "SynthesisRule": "base",
        "Head": "head",
        "HeadRule": "head_rule",
        "OwnEvidence": "own_evidence",
    },
)
