"""qsynth: nodes that learn from each other, peer to peer, with no coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.node import JoinMesh, load_predictor
    from qsynth.types import Task

__version__ = "0.1.0"
__all__ = ["JoinMesh", "Task", "__version__", "load_predictor"]


def __getattr__(name: str) -> Any:
    if name == "Task":
        from qsynth.types import Task

        return Task
    if name in ("JoinMesh", "load_predictor"):
        from qsynth import node

        return getattr(node, name)
    raise AttributeError(name)
