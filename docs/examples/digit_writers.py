"""Write an .npz with a `node` array: handwritten digits by their writers.

python docs/examples/digit_writers.py writers.npz
qsynth compare +recipe=natural data.path=writers.npz

The rows of scikit-learn's digits are the test part of UCI's Optical Recognition of Handwritten
Digits, which thirteen people wrote; they stand in the order in which these wrote them, and their
names are not kept.  Thirteen blocks of equal length are therefore nearly, not exactly, the writers.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_digits

WRITERS = 13


def main() -> int:
    """Write x (1797, 64) float32 in [0, 16], y (1797,) and node (1797,)."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python digit_writers.py FILE.npz\n")
        return 2
    x, y = load_digits(return_X_y=True)
    node = np.arange(len(y)) * WRITERS // len(y)
    np.savez(sys.argv[1], x=x.astype(np.float32), y=y.astype(np.int64), node=node)
    sys.stdout.write(f"{len(y)} digits of {WRITERS} writers in {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
