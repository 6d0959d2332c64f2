"""The data option `fmnist`: Fashion-MNIST (Xiao 2017) from its four official IDX files."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qsynth.data.base import Bundled, Layout
from qsynth.data.dataset import DataSet, averaged
from qsynth.data.files import Remote, fetch, find, search_path
from qsynth.errors import ConfigError, DataError
from qsynth.schema import option, setting
from qsynth.types import Task

LABELS = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "boot",
)
BASE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
REMOTES = (
    Remote(
        f"{BASE}/train-images-idx3-ubyte.gz",
        "sha256",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    Remote(
        f"{BASE}/train-labels-idx1-ubyte.gz",
        "sha256",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    Remote(
        f"{BASE}/t10k-images-idx3-ubyte.gz",
        "sha256",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    Remote(
        f"{BASE}/t10k-labels-idx1-ubyte.gz",
        "sha256",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)
FOLDERS = ("fashion-mnist", "FashionMNIST/raw", "fashion_mnist", ".")
SIDE = 28
MAX_BYTES = 60_000 * SIDE * SIDE + 16  # of one decompressed file: nothing larger is official
SAMPLES = 60_000  # that training has at most


@option("data")
@dataclass(frozen=True)
class Fmnist(Bundled):
    """Fashion-MNIST in the official IDX files."""

    name: str = setting("fmnist", "the option's name", choices=("fmnist",))
    root: str | None = setting(None, "folder of the files; null: $QSYNTH_DATA_DIR or the cache")
    side: int = setting(28, "pixels a side after averaging; must divide 28", low=7, high=28)
    batch_size: int = setting(16, "own training samples a step", low=1)

    def check(self) -> None:
        """Raise ConfigError where pixels cannot be averaged to this side."""
        if SIDE % self.side:
            raise ConfigError(f"data.side={self.side}: must divide {SIDE}: 7, 14 or 28")

    def layout(self) -> Layout:
        """Return what samples look like; `train` at most."""
        return Layout("image", (1, self.side, self.side), self.outputs(), SAMPLES)

    def load(self) -> DataSet:
        """Return 60,000 training and 10,000 test images (1, side, side) in [0, 1]."""
        places = search_path(self.root)
        folder = _folder(places) or fetch("fmnist", places, "fashion-mnist", REMOTES)
        parts: list[Any] = []
        for part in ("train", "t10k"):
            images = read_idx(_file(folder, f"{part}-images-idx3-ubyte"), axes=3)
            parts.append(averaged(images[:, None], self.side))
            parts.append(
                read_idx(_file(folder, f"{part}-labels-idx1-ubyte"), axes=1).astype(np.int64)
            )
        task = Task(
            name="fashion-mnist",
            version=1,
            labels=LABELS,
            layout="image",
            shape=(1, self.side, self.side),
            units="grey level",
            low=0.0,
            high=1.0,
        )
        return DataSet(task, *parts)


def read_idx(path: Path, axes: int) -> npt.NDArray[Any]:
    """Return the uint8 array of an IDX file, gzipped or plain.  Raises DataError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        zero, kind, given = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{given}I", data, 4)
        body = np.frombuffer(data, np.uint8, offset=4 + 4 * given)
    except (OSError, EOFError, struct.error, ValueError, zlib.error) as error:
        raise DataError(f"{path}: not an IDX file ({error})") from None
    if zero != 0 or kind != 8 or given != axes or len(body) != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path}: not an IDX file of {axes} axes of bytes")
    return body.reshape(shape)


def _folder(places: list[Path]) -> Path | None:
    names = tuple(
        f"{folder}/train-images-idx3-ubyte{end}" for folder in FOLDERS for end in ("", ".gz")
    )
    found = find(places, names)
    return found.parent if found else None


def _file(folder: Path, name: str) -> Path:
    plain, zipped = folder / name, folder / f"{name}.gz"
    if not plain.exists() and not zipped.exists():
        raise DataError(f"fmnist: {folder} has no {name} or {name}.gz")
    return plain if plain.exists() else zipped
