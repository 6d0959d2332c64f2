"""The data option `digits`: 8x8 images of handwritten digits that ship with scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from qsynth.data.config import Digits
from qsynth.data.dataset import DataSet, split_test
from qsynth.types import Task


def load(config: Digits) -> DataSet:
    """Return 1,797 images (1, 8, 8) in [0, 1] of ten digits.

    Source: Alpaydin & Kaynak 1998, UCI Optical Recognition of Handwritten Digits (test part).
    """
    images, labels = load_digits(return_X_y=True)
    inputs = (images.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
    labels = labels.astype(np.int64)
    train, test = split_test(labels, None, config.test_share)
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
