"""Compile every kernel once, or load it from numba's cache."""

from __future__ import annotations

import numpy as np

from qsynth.kernels.cosine import cosine_top
from qsynth.kernels.rings import diverse
from qsynth.kernels.xor import xor_nearest


def warm_up() -> None:
    """Call every kernel with the types that the table uses."""
    ids = np.zeros((2, 32), np.uint8)
    prints = np.zeros((2, 16), np.int8)
    xor_nearest(ids[0], ids, 1)
    cosine_top(prints[0], prints, 1)
    diverse(np.zeros(2, np.float32), prints, 1)
