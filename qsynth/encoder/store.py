"""Features kept on disk, a row for each sample: by the digest of the encoder and of the input.

Arms, seeds and processes share them.  Each process writes files of its own, so that nothing is
locked; the folder has a limit, and the files used longest ago go first.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from qsynth.encoder.projection import cache_folder
from qsynth.types import Floats32

LIMIT_MIB = 2048  # of all features kept; `QSYNTH_FEATURES_MIB` changes it, 0 keeps none
PART = 128  # inputs made between two steps of the progress bar
WRITTEN = 4096  # rows after which what is made is written, so that an interruption costs little
PATIENCE_S = 2.0  # before a progress bar is shown
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class FeatureStore:
    """The kept features of one encoder.

    kept_as: names its map.  dimensions: of its features.
    """

    def __init__(self, kept_as: str, dimensions: int) -> None:
        self.folder = features_folder() / kept_as
        self.dimensions = dimensions

    def features(self, inputs: Floats32, make: Callable[[Floats32], Floats32]) -> Floats32:
        """Return (n, d) features of (n, *shape) inputs; `make` gives those that are not kept."""
        keys = row_keys(inputs)
        made = np.zeros((len(inputs), self.dimensions), np.float32)
        missing = self._read(keys, made)
        for rows in self._bunches(missing):
            made[rows] = np.concatenate(
                [make(np.ascontiguousarray(inputs[part])) for part in self._shown(rows)]
            )
            self._write(keys[rows], made[rows])
        return made

    def _read(self, keys: npt.NDArray[np.void], into: Floats32) -> npt.NDArray[np.int64]:
        """Fill in the rows that are kept; return the others."""
        wanted: dict[bytes, list[int]] = {}
        for row, key in enumerate(keys):
            wanted.setdefault(key.tobytes(), []).append(row)
        for path in sorted(self.folder.glob("*.npz")):
            try:
                with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
                    names, rows = kept["keys"], kept["features"]
                os.utime(path)
            except _UNREADABLE:
                continue  # torn, or gone meanwhile: its rows are made again
            if rows.shape != (len(names), self.dimensions) or rows.dtype != np.float32:
                continue
            for name, features in zip(names, rows, strict=True):
                for row in wanted.pop(name.tobytes(), ()):
                    into[row] = features
        return np.array(sorted(row for rows in wanted.values() for row in rows), np.int64)

    def _bunches(self, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        for at in range(0, len(rows), WRITTEN):
            yield rows[at : at + WRITTEN]

    def _shown(self, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        parts = [rows[at : at + PART] for at in range(0, len(rows), PART)]
        bar = tqdm(total=len(rows), desc="features", unit="sample", delay=PATIENCE_S, leave=False)
        with bar:
            for part in parts:
                yield part
                bar.update(len(part))

    def _write(self, keys: npt.NDArray[np.void], features: Floats32) -> None:
        limit = limit_mib() * 2**20
        if features.nbytes > limit:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            shrink(limit - features.nbytes)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                np.savez(file, keys=keys, features=features)
            os.replace(file.name, f"{file.name}.npz")
        except OSError:
            pass  # a cache that cannot be written costs time, nothing else


def row_keys(inputs: Floats32) -> npt.NDArray[np.void]:
    """Return (n,) keys of 16 bytes, one for each input's numbers."""
    rows = np.ascontiguousarray(inputs).reshape(len(inputs), math.prod(inputs.shape[1:]))
    digests = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
    return np.frombuffer(b"".join(digests), np.dtype("V16"))


def features_folder() -> Path:
    """Return where features are kept."""
    return cache_folder() / "features"


def limit_mib() -> int:
    """Return how much is kept at most, in MiB.  What is not a number counts as the default."""
    told = os.environ.get("QSYNTH_FEATURES_MIB", "")
    return int(told) if told.isdecimal() else LIMIT_MIB


def kept_bytes() -> int:
    """Return what the kept features take on disk."""
    return sum(size for _, size, _ in _files())


def shrink(limit: int) -> None:
    """Delete the files that were used longest ago, until the rest takes `limit` bytes at most."""
    files = sorted(_files())
    total = sum(size for _, size, _ in files)
    for _, size, path in files:
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size


def _files() -> list[tuple[float, int, Path]]:
    """Return when each file was used last, its bytes and its path."""
    found = []
    for path in features_folder().glob("*/*"):
        try:
            told = path.stat()
        except OSError:
            continue  # gone meanwhile
        found.append((told.st_mtime, told.st_size, path))
    return found
