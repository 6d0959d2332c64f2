"""The shared functional space: a fixed map from inputs to features, the same on every node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.encoder.base import Encoder
    from qsynth.encoder.encode import make_encoder

__all__ = ["Encoder", "make_encoder"]
__getattr__ = exports(__name__, {"Encoder": "base", "make_encoder": "encode"})
