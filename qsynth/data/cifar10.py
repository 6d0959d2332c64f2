"""The data option `cifar10` (Krizhevsky 2009): the binary layout, or the Python archive.

Binary rows are one label byte and 3,072 channel-major pixel bytes.  The Python archive's
pickles are read without being executed.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.data.base import Bundled, Layout
from qsynth.data.dataset import DataSet, averaged
from qsynth.data.files import Remote, fetch, find, search_path
from qsynth.data.inert_pickle import Inert, read_pickle
from qsynth.errors import ConfigError, DataError
from qsynth.schema import option, setting
from qsynth.types import Ints, Task

LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BINARY = Remote(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "sha256",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
CANDIDATES = (
    "cifar-10-batches-bin",
    "cifar-10-batches-py",
    "cifar-10-binary.tar.gz",
    "cifar-10-python.tar.gz",
    "test_batch.bin",
    "test_batch",
)
SIDE, ROW = 32, 1 + 3 * 32 * 32
MAX_FILE = 64 * 1024 * 1024  # an official batch has 31 MB
Rows = tuple[npt.NDArray[np.uint8], Ints]
SAMPLES = 50_000  # that training has at most


@option("data")
@dataclass(frozen=True)
class Cifar10(Bundled):
    """CIFAR-10 in the official binary layout or the official Python archive."""

    name: str = setting("cifar10", "the option's name", choices=("cifar10",))
    root: str | None = setting(None, "folder of the files; null: $QSYNTH_DATA_DIR or the cache")
    side: int = setting(32, "pixels a side after averaging; must divide 32", low=8, high=32)
    batch_size: int = setting(32, "own training samples a step", low=1)

    def check(self) -> None:
        """Raise ConfigError where pixels cannot be averaged to this side."""
        if SIDE % self.side:
            raise ConfigError(f"data.side={self.side}: must divide {SIDE}: 8, 16 or 32")

    def layout(self) -> Layout:
        """Return what samples look like; `train` at most."""
        return Layout("image", (3, self.side, self.side), self.outputs(), SAMPLES)

    def load(self) -> DataSet:
        """Return all training batches found and the test batch: (3, side, side) in [0, 1]."""
        places = search_path(self.root)
        source = find(places, CANDIDATES)
        if source is None:
            source = fetch("cifar10", places, "cifar10", (BINARY,)) / BINARY.file_name
        if source.is_file() and not source.name.endswith(".tar.gz"):
            source = source.parent
        train: list[Rows] = []
        test: list[Rows] = []
        for name, data in _batches(source):
            images, labels = rows_of_pickle(data, name) if _is_python(name) else rows(data, name)
            (test if name.startswith("test_batch") else train).append((images, labels))
        if not train or not test:
            raise DataError(f"cifar10: {source} needs data_batch_* and test_batch files")
        task = Task(
            name="cifar-10",
            version=1,
            labels=LABELS,
            layout="image",
            shape=(3, self.side, self.side),
            units="red, green, blue",
            low=0.0,
            high=1.0,
        )
        train_x, train_y = _joined(train, self.side)
        test_x, test_y = _joined(test, self.side)
        return DataSet(task, train_x, train_y, test_x, test_y)


def rows(data: bytes, name: str) -> Rows:
    """Return (n, 3, 32, 32) images and labels of a batch in the binary layout."""
    if not data or len(data) % ROW:
        raise DataError(f"cifar10: {name} has {len(data)} bytes, no multiple of {ROW}")
    table = np.frombuffer(data, np.uint8).reshape(-1, ROW)
    return table[:, 1:].reshape(-1, 3, SIDE, SIDE), _labels(table[:, 0].astype(np.int64), name)


def rows_of_pickle(data: bytes, name: str) -> Rows:
    """Return (n, 3, 32, 32) images and labels of a batch of the Python archive."""
    batch = read_pickle(data)
    if not isinstance(batch, dict):
        raise DataError(f"cifar10: {name} is no batch")
    values = {k.decode("latin-1") if isinstance(k, bytes) else k: v for k, v in batch.items()}
    array, labels = values.get("data"), values.get("labels")
    state = array.state if isinstance(array, Inert) else None
    if not isinstance(labels, list) or not isinstance(state, tuple) or len(state) != 5:
        raise DataError(f"cifar10: {name} has no data and labels")
    raw = state[4].encode("latin-1") if isinstance(state[4], str) else state[4]
    if not isinstance(raw, bytes) or len(raw) != len(labels) * (ROW - 1):
        raise DataError(f"cifar10: {name}: data and labels do not fit together")
    images = np.frombuffer(raw, np.uint8).reshape(-1, 3, SIDE, SIDE)
    if not all(isinstance(label, int) and 0 <= label < len(LABELS) for label in labels):
        raise DataError(f"cifar10: {name} has labels outside 0-9")
    return images, np.array(labels, np.int64)


def _labels(labels: Ints, name: str) -> Ints:
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(LABELS):
        raise DataError(f"cifar10: {name} has labels outside 0-9")
    return labels


def _is_python(name: str) -> bool:
    return not name.endswith(".bin")


def _wanted(name: str) -> bool:
    stem = name.removesuffix(".bin")
    return stem == "test_batch" or stem in {f"data_batch_{i}" for i in range(1, 6)}


def _batches(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.iterdir()):
            if _wanted(path.name):
                yield path.name, path.read_bytes()
        return
    try:
        with tarfile.open(source) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name):
                name = Path(member.name).name
                if member.isfile() and member.size <= MAX_FILE and _wanted(name):
                    file: Any = archive.extractfile(member)
                    yield name, file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"cifar10: {source} cannot be read ({error})") from None


def _joined(parts: list[Rows], side: int) -> tuple[Any, Ints]:
    images = np.concatenate([averaged(images, side) for images, _ in parts])
    return images, np.concatenate([labels for _, labels in parts])
