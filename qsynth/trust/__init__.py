"""Admission of packets: what a peer sent is data, checked and counted, never trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qsynth.lazy import exports

if TYPE_CHECKING:
    from qsynth.trust.admission import Admission, Admitted

__all__ = ["Admission", "Admitted"]
__getattr__ = exports(__name__, {"Admission": "admission", "Admitted": "admission"})
