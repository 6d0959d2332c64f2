"""Run four sites on scikit-learn's breast cancer table: the first line says if the mesh helped.

PYTHONPATH=. python tests/benchmarks/table.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from qsynth.cli.main import main

WORDS = [
    "data=arrays",
    "partition=natural",
    "encoder=seeded_fourier",
    "fleet.mlp.count=4",
    "fleet.cnn.count=0",
    "fleet.linear.count=0",
    "encoder.dimensions=48",
    "encoder.fit_inputs=300",
    "placement=simulate",
    "trainer.max_steps=120",
]


def cancer(folder: Path) -> Path:
    """Return a file of 569 patients' 30 measurements, each patient at one of four sites."""
    x, y = load_breast_cancer(return_X_y=True)
    x = StandardScaler().fit_transform(x).astype(np.float32)
    node = np.random.default_rng(0).integers(0, 4, len(y))
    np.savez(folder / "cancer.npz", x=x, y=y, node=node)
    return folder / "cancer.npz"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        path = cancer(Path(made))
        sys.exit(main(["run", *WORDS, f"data.path={path}", f"folder={made}/runs"]))
