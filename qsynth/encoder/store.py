"""Features kept on disk, a row for each sample: by the digest of the encoder and of the input.

Arms, seeds and processes share them.  Each process writes files of its own, so that nothing is
locked; the folder has a limit, and the files used longest ago go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from qsynth.encoder.projection import cache_folder
from qsynth.types import Floats32

LIMIT_MIB = 2048  # of all features kept; `QSYNTH_FEATURES_MIB` changes it, 0 keeps none
PART = 128  # inputs made between two steps of the progress bar
WRITTEN = 4096  # rows after which what is made is written, so that an interruption costs little
SMALL_BYTES, MOST_SMALL = 4 << 20, 32  # of a file; and how many such there may be
PATIENCE_S = 2.0  # before a progress bar is shown
_UNREADABLE = (OSError, ValueError, EOFError)
_Rows: TypeAlias = dict[bytes, tuple[Path, npt.NDArray[np.void], int]]
_known: dict[Path, tuple[set[Path], _Rows]] = {}  # by folder: files looked at, and their rows


class FeatureStore:
    """The kept features of one encoder.

    kept_as: names its map.  dimensions: of its features.
    """

    def __init__(self, kept_as: str, dimensions: int) -> None:
        self.folder = features_folder() / kept_as
        self.dimensions = dimensions
        self.row = np.dtype([("key", "V16"), ("features", np.float32, (dimensions,))])

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
        index, missing, used = self._index(), [], set()
        for row, key in enumerate(keys):
            found = index.get(key.tobytes())
            features = None if found is None else found[1]["features"][found[2]]
            if features is None or not np.isfinite(features).all():
                missing.append(row)
                continue
            into[row] = features
            used.add(found[0] if found else self.folder)
        for path in used:
            with contextlib.suppress(OSError):  # gone meanwhile
                os.utime(path)
        return np.array(missing, np.int64)

    def _index(self) -> _Rows:
        """Return where each kept row lies; a file is looked at once in a process."""
        here = set(self.folder.glob("*.npy"))
        known, index = _known.setdefault(self.folder, (set(), {}))
        if known - here:  # some have gone: begin anew
            known.clear()
            index.clear()
        for path in sorted(here - known):
            known.add(path)
            try:
                kept = np.load(path, mmap_mode="r", allow_pickle=False)
            except _UNREADABLE:
                continue  # torn, or gone meanwhile: its rows are made again
            if kept.dtype == self.row and kept.ndim == 1:
                index.update((key.tobytes(), (path, kept, n)) for n, key in enumerate(kept["key"]))
        return index

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
        rows = np.empty(len(keys), self.row)
        rows["key"], rows["features"] = keys, features
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            few = self._small_files()
            if few:
                rows = np.concatenate([rows, *few.values()])
            shrink(limit - rows.nbytes)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                np.save(file, rows)
            os.replace(file.name, f"{file.name}.npy")
            for path in few:
                path.unlink(missing_ok=True)
        except OSError:
            pass  # a cache that cannot be written costs time, nothing else

    def _small_files(self) -> dict[Path, npt.NDArray[np.void]]:
        """Return the rows of small files, where there are many: they become one."""
        small = [path for path in self.folder.glob("*.npy") if path.stat().st_size < SMALL_BYTES]
        if len(small) < MOST_SMALL:
            return {}
        rows = {}
        for path in small:
            with contextlib.suppress(*_UNREADABLE):
                kept = np.load(path, allow_pickle=False)
                if kept.dtype == self.row and kept.ndim == 1:
                    rows[path] = kept
        return rows


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
