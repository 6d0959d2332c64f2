"""Kernels of routing and encoding: numba functions on arrays only."""

from qsynth.kernels.batch import cosine_top_many, hamming_top_many, xor_nearest_many
from qsynth.kernels.cosine import cosine_top, inner_top, inverse_lengths
from qsynth.kernels.hamming import hamming_top
from qsynth.kernels.pool import rectified_means
from qsynth.kernels.warm import warm_up
from qsynth.kernels.xor import xor_nearest

__all__ = [
    "cosine_top",
    "cosine_top_many",
    "hamming_top",
    "hamming_top_many",
    "inner_top",
    "inverse_lengths",
    "rectified_means",
    "warm_up",
    "xor_nearest",
    "xor_nearest_many",
]
