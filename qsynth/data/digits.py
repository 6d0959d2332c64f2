"""The data option `digits`: 8x8 images of handwritten digits that ship with scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qsynth.data.base import Bundled, Layout
from qsynth.data.dataset import DataSet, split_test
from qsynth.lazy import Deferred
from qsynth.schema import option, setting
from qsynth.types import Task

SAMPLES = 1797
datasets = Deferred("sklearn.datasets")


@option("data")
@dataclass(frozen=True)
class Digits(Bundled):
    """8x8 digits that ship with scikit-learn: 1,797 real images, no download."""

    name: str = setting("digits", "the option's name", choices=("digits",))
    test_share: float = setting(0.25, "of the images kept for the test", low=0.05, high=0.9)
    batch_size: int = setting(16, "own training samples a step", low=1)

    def layout(self) -> Layout:
        """Return what samples look like; `train` at most."""
        return Layout("image", (1, 8, 8), self.outputs(), round(SAMPLES * (1.0 - self.test_share)))

    def load(self) -> DataSet:
        """Return 1,797 images (1, 8, 8) in [0, 1] of ten digits.

        Source: Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits (test part).
        """
        images, labels = datasets.load_digits(return_X_y=True)
        inputs = (images.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
        labels = labels.astype(np.int64)
        train, test = split_test(labels, None, self.test_share)
        task = Task(
            name="digits",
            version=1,
            labels=tuple(str(digit) for digit in range(10)),
            layout="image",
            shape=(1, 8, 8),
            units="grey level",
            low=0.0,
            high=1.0,
        )
        return DataSet(task, inputs[train], labels[train], inputs[test], labels[test])
