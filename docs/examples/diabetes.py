"""Write an .npz of a regression: the progression of diabetes a year after ten measurements.

python docs/examples/diabetes.py diabetes.npz
qsynth compare +recipe=progression data.path=diabetes.npz

442 patients (Efron et al. 2004, Least Angle Regression), shipped with scikit-learn.
"""

from __future__ import annotations

import sys

import numpy as np
from sklearn.datasets import load_diabetes


def main() -> int:
    """Write x (442, 10) float32, centred and of equal length by feature, and y (442, 1)."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python diabetes.py FILE.npz\n")
        return 2
    x, y = load_diabetes(return_X_y=True)
    np.savez(sys.argv[1], x=x.astype(np.float32), y=y.reshape(-1, 1).astype(np.float32))
    sys.stdout.write(f"{len(y)} patients in {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
