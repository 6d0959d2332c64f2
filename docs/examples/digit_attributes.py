"""Write an .npz of a multi-label task: handwritten digits, and what holds for each.

python docs/examples/digit_attributes.py attributes.npz
qsynth compare +recipe=attributes data.path=attributes.npz
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_digits

HOLDS = {
    "even": (0, 2, 4, 6, 8),
    "above_four": (5, 6, 7, 8, 9),
    "closed_loop": (0, 6, 8, 9),
    "prime": (2, 3, 5, 7),
}


def main() -> int:
    """Write x (1797, 1, 8, 8) float32 in [0, 16] and y (1797, 4) of 0 and 1."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python digit_attributes.py FILE.npz\n")
        return 2
    x, digit = load_digits(return_X_y=True)
    y = np.stack([np.isin(digit, holds) for holds in HOLDS.values()], axis=1)
    np.savez(sys.argv[1], x=x.reshape(-1, 1, 8, 8).astype(np.float32), y=y.astype(np.uint8))
    sys.stdout.write(f"{len(y)} digits with {', '.join(HOLDS)} in {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
