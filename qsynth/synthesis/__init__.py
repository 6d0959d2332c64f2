"""Synthesis: admitted packets become a better predictor, and a teaching for the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.synthesis.analytic_head import Synthesis, synthesize
    from qsynth.synthesis.head import Head
    from qsynth.synthesis.predictor import Predictor
    from qsynth.synthesis.teach import make_pool

__all__ = ["Head", "Predictor", "Synthesis", "make_pool", "synthesize"]

_HOMES = {
    "Head": "head",
    "Predictor": "predictor",
    "Synthesis": "analytic_head",
    "make_pool": "teach",
    "synthesize": "analytic_head",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"qsynth.synthesis.{_HOMES[name]}"), name)
    raise AttributeError(name)
