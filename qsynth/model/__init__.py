"""Networks: bundled Lightning modules, or the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.model.classifier import Classifier
    from qsynth.model.make import check_network, make_network

__all__ = ["Classifier", "check_network", "make_network"]


def __getattr__(name: str) -> Any:
    if name == "Classifier":
        from qsynth.model.classifier import Classifier

        return Classifier
    if name in __all__:
        from qsynth.model import make

        return getattr(make, name)
    raise AttributeError(name)
