"""Two rectified maps of filter responses and their means over cells, in one pass."""

from __future__ import annotations

import numpy as np
from numba import njit

from qsynth.types import Floats32


@njit(cache=True, nogil=True)
def rectified_means(responses: Floats32, threshold: np.float32, side: int, out: Floats32) -> None:
    """Write the means over cells of what exceeds a threshold, and of what falls below its negative.

    responses: (n, f, h, w).  side: of a square cell.  out: (n, 2 f, h // side, w // side), the
    f maps of what exceeds, then the f others.  In the order in which torch's avg_pool2d adds: the
    same bits.
    """
    n, f = responses.shape[:2]
    rows, columns = out.shape[2:]
    size, zero = np.float32(side * side), np.float32(0.0)
    for i in range(n):
        for k in range(f):
            for a in range(rows):
                for b in range(columns):
                    above, below = zero, zero
                    for y in range(a * side, (a + 1) * side):
                        for x in range(b * side, (b + 1) * side):
                            up = responses[i, k, y, x] - threshold
                            down = -responses[i, k, y, x] - threshold
                            above += zero if up < zero else up  # not a number stays none
                            below += zero if down < zero else down
                    out[i, k, a, b] = above / size
                    out[i, f + k, a, b] = below / size
