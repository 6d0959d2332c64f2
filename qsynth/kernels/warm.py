"""Compile every kernel once, or load it from numba's cache."""

from __future__ import annotations

import numpy as np

from qsynth.kernels.cosine import cosine_top
from qsynth.kernels.rings import diverse
from qsynth.kernels.xor import xor_nearest


def warm_up() -> None:
    """Call every kernel with all the types that tables and lookups use.

    To numba a read-only array, as it comes from a message's bytes, is another type: what is not
    compiled before a fork is compiled again in every child.
    """
    ids = np.frombuffer(bytes(64), np.uint8).reshape(2, 32)
    received = np.frombuffer(bytes(32), np.int8).reshape(2, 16)
    own = np.zeros((2, 16), np.int8)
    xor_nearest(ids[0], ids, 1)
    for query in (own[0], received[0]):
        for keys in (own, received):
            cosine_top(query, keys, 1)
    diverse(np.zeros(2, np.float32), own, 1)
