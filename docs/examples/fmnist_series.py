"""Write an .npz of series with a `node` array: images read row by row, as by differing scanners.

python docs/examples/fmnist_series.py series.npz FOLDER

FOLDER holds the data of `data=fmnist`.
qsynth compare +recipe=series data.path=series.npz

Each Fashion-MNIST image is a series of 28 steps with 28 channels, one for each column.  Sixteen
sites, four of each kind of scanner: one reads downwards, one upwards, one has its channels in
reverse order, one has its halves of channels swapped.  Nobody is told of which kind a site is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from qsynth.data import load_data
from qsynth.data.fmnist import Fmnist
from qsynth.data.task import FromData

SITES, TRAINING, TEST = 16, 80, 400


def scanned(images: np.ndarray, kind: int) -> np.ndarray:
    """Return series (n, channels, steps) of images (n, 28, 28), as a kind of scanner reads them."""
    series = images.transpose(0, 2, 1)
    if kind == 1:
        return series[:, :, ::-1]
    if kind == 2:
        return series[:, ::-1]
    if kind == 3:
        return np.concatenate([series[:, 14:], series[:, :14]], axis=1)
    return series


def main() -> int:
    """Write x (1280, 28, 28) uint8, y, node and the same of a test part."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python fmnist_series.py FILE.npz FOLDER\n")
        return 2
    data = load_data(Fmnist(root=sys.argv[2], side=28), FromData())
    rng = np.random.default_rng(0)
    made: dict[str, np.ndarray] = {}
    for part, x, y, each in (
        ("", data.train_x, data.train_y, TRAINING),
        ("_test", data.test_x, data.test_y, TEST),
    ):
        chosen = rng.permutation(len(y))[: SITES * each]
        node = np.arange(len(chosen)) % SITES
        unit = x[chosen].reshape(-1, 28, 28) / data.task.high
        images = np.rint(255 * unit).astype(np.uint8)
        series = np.empty_like(images)
        for site in range(SITES):
            series[node == site] = scanned(images[node == site], site // 4)
        made |= {f"x{part}": series, f"y{part}": y[chosen], f"node{part}": node}
    np.savez(Path(sys.argv[1]), **made)
    sys.stdout.write(f"{SITES * TRAINING} series of {SITES} sites in {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
