"""Routing kernels: numba functions on arrays only."""

from qsynth.kernels.cosine import cosine_top
from qsynth.kernels.rings import diverse
from qsynth.kernels.warm import warm_up
from qsynth.kernels.xor import xor_nearest

__all__ = ["cosine_top", "diverse", "warm_up", "xor_nearest"]
