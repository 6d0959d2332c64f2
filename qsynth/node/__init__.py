"""The node: what it knows, how it answers, how it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.node.export import load_predictor, save_predictor
    from qsynth.node.join import JoinMesh
    from qsynth.node.node import Node
    from qsynth.node.outcome import Rules, Samples
    from qsynth.node.study import Study

_HOMES = {
    "JoinMesh": "join",
    "Node": "node",
    "Rules": "outcome",
    "Samples": "outcome",
    "Study": "study",
    "load_predictor": "export",
    "save_predictor": "export",
}
__all__ = ["JoinMesh", "Node", "Rules", "Samples", "Study", "load_predictor", "save_predictor"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"qsynth.node.{_HOMES[name]}"), name)
    raise AttributeError(name)
