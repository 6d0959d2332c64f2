"""The shared functional space: a fixed map from inputs to features, the same on every node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qsynth.encoder.base import Encoder
    from qsynth.encoder.encode import make_encoder

__all__ = ["Encoder", "make_encoder"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from qsynth.encoder import base, encode

        return getattr(base if name == "Encoder" else encode, name)
    raise AttributeError(name)
