"""Networks: bundled Lightning modules, or the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.model.classifier import Classifier
    from qsynth.model.make import check_network, make_network

__all__ = ["Classifier", "check_network", "make_network"]
__getattr__ = exports(
    __name__, {"Classifier": "classifier", "check_network": "make", "make_network": "make"}
)
