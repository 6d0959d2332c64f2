"""Routing kernels: numba functions on arrays only."""

from qsynth.kernels.cosine import cosine_top
from qsynth.kernels.rings import diverse
from qsynth.kernels.xor import xor_nearest

__all__ = ["cosine_top", "diverse", "warm_up", "xor_nearest"]


def warm_up() -> None:
    """Compile every kernel once, or load it from numba's cache."""
    import numpy as np

    ids = np.zeros((2, 32), np.uint8)
    prints = np.zeros((2, 16), np.int8)
    xor_nearest(ids[0], ids, 1)
    cosine_top(prints[0], prints, 1)
    diverse(np.zeros(2, np.float32), prints, 1)
