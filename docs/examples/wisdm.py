"""Write an .npz with a `node` array: windows of phone accelerometers, a site for each person.

python docs/examples/wisdm.py wisdm.npz WISDM_ar_v1.1_transformed.arff [LEAST]
qsynth compare +recipe=wisdm data.path=wisdm.npz

The file is part of WISDM's activity recognition data, version 1.1, which everybody may download:
https://www.cis.fordham.edu/wisdm/dataset.php (Kwapisz, Weiss & Moore 2010, SIGKDD Explorations
12(2)).  A row is ten seconds of one person: 43 numbers and one of six activities.  People with
fewer than LEAST (100) windows are left out, so 33 of 36 stay.  Each column is given in units of
its spread over all windows, up to 8 of them: constants that a fleet agrees on with its task.
Missing numbers take the column's median.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

LEAST, MOST_UNITS = 100, 8.0
ACTIVITIES = ("Downstairs", "Jogging", "Sitting", "Standing", "Upstairs", "Walking")


def main() -> int:
    """Write x (n, 43) float32, y (n,) class indices and node (n,) people."""
    if len(sys.argv) not in (3, 4):
        sys.stderr.write("usage: python wisdm.py FILE.npz WISDM_ar_v1.1_transformed.arff [LEAST]\n")
        return 2
    least = int(sys.argv[3]) if len(sys.argv) == 4 else LEAST
    lines = Path(sys.argv[2]).read_text(encoding="latin-1").splitlines()
    rows = [line.split(",") for line in lines if line.strip() and not line.startswith("@")]
    x = np.array([[np.nan if n == "?" else float(n) for n in row[2:-1]] for row in rows])
    node = np.array([int(row[1].strip('"')) for row in rows])
    y = np.array([ACTIVITIES.index(row[-1].strip()) for row in rows])
    many = np.isin(node, np.flatnonzero(np.bincount(node) >= least))
    x, y, node = x[many], y[many], node[many]
    x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
    told = x.std(axis=0) > 1e-6
    x = np.clip((x - x.mean(axis=0))[:, told] / x.std(axis=0)[told], -MOST_UNITS, MOST_UNITS)
    np.savez(sys.argv[1], x=x.astype(np.float32), y=y.astype(np.int64), node=node)
    people = len(np.unique(node))
    sys.stdout.write(f"{len(y)} windows of {people} people in {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
