"""Routing kernels: numba functions on arrays only."""

from qsynth.kernels.cosine import cosine_top, inner_top, inverse_lengths
from qsynth.kernels.hamming import hamming_top
from qsynth.kernels.warm import warm_up
from qsynth.kernels.xor import xor_nearest

__all__ = [
    "cosine_top", "hamming_top", "inner_top", "inverse_lengths",
    "warm_up", "xor_nearest",
]  # fmt: skip
