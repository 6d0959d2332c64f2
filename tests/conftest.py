"""What tests share: small tasks, samples, and a cache of their own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from qsynth.types import Task


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["QSYNTH_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data; a test that needs it is skipped without it."""
    value = os.environ.get("QSYNTH_DATA_DIR")
    if not value:
        pytest.skip("QSYNTH_DATA_DIR is not set: no real CIFAR-10 and Fashion-MNIST here")
    return Path(value)


@pytest.fixture
def task() -> Task:
    """Three classes of 8x8 images."""
    return Task("toy", 1, ("a", "b", "c"), "image", (1, 8, 8), "grey", 0.0, 1.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
