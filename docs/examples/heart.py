"""Write an .npz with a `node` array: heart disease at four hospitals, split as FLamby splits it.

python docs/examples/heart.py heart.npz FOLDER [SEED]
qsynth compare +recipe=heart data.path=heart.npz

FOLDER holds processed.cleveland.data, processed.hungarian.data, processed.switzerland.data and
processed.va.data of UCI's Heart Disease data (https://doi.org/10.24432/C52P4X, CC BY 4.0; A.
Janosi, W. Steinbrunn, M. Pfisterer, R. Detrano).  Rows and columns are those of FLamby (du Terrail
2022, arXiv 2210.04620): slope, ca and thal are left out, then rows with a missing number; chest
pain and ECG become one column a value but the first.  A third of each hospital's rows, of sick and
healthy alike, is the test; SEED (42) draws it.  Numbers are in units of their spread in all
training rows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

SITES = ("cleveland", "hungarian", "switzerland", "va")
LEFT_OUT, CHEST_PAIN, ECG = (10, 11, 12), (2.0, 3.0, 4.0), (1.0, 2.0)


def rows_of(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, 13) columns and (n,) whether there is disease."""
    rows = []
    for line in path.read_text(encoding="latin-1").splitlines():
        if line.strip() and not line.startswith("X"):
            rows.append([-9.0 if n.strip() == "?" else float(n) for n in line.split(",")])
    table = np.array(rows)
    kept = np.delete(table[:, :13], LEFT_OUT, axis=1)
    whole = (kept != -9.0).all(axis=1)
    kept, y = kept[whole], (table[whole, 13] > 0).astype(np.int64)
    pain = (kept[:, [2]] == np.array(CHEST_PAIN)).astype(float)
    ecg = (kept[:, [6]] == np.array(ECG)).astype(float)
    return np.hstack([kept[:, :2], pain, kept[:, 3:6], ecg, kept[:, 7:]]), y


def main() -> int:
    """Write x, y, node, and the same of the test rows."""
    if len(sys.argv) not in (3, 4):
        sys.stderr.write("usage: python heart.py FILE.npz FOLDER [SEED]\n")
        return 2
    parts = [rows_of(Path(sys.argv[2]) / f"processed.{site}.data") for site in SITES]
    x, y = np.vstack([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    node = np.repeat(np.array(SITES), [len(part[1]) for part in parts])
    groups = np.char.add(node, y.astype(str))
    alone = np.isin(groups, [name for name in np.unique(groups) if (groups == name).sum() < 2])
    groups = np.where(alone, np.char.add(node, "1"), groups)  # one healthy patient in Switzerland
    seed = int(sys.argv[3]) if len(sys.argv) == 4 else 42
    train, test = train_test_split(
        np.arange(len(y)), test_size=0.34, random_state=seed, stratify=groups
    )
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    arrays = {"x": x.astype(np.float32), "y": y, "node": node}
    both = {name: array[train] for name, array in arrays.items()}
    both |= {f"{name}_test": array[test] for name, array in arrays.items()}
    np.savez(sys.argv[1], **both)
    sys.stdout.write(f"{len(y)} patients of {len(SITES)} hospitals in {sys.argv[1]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
