"""Find a data set's files, or fetch the official archive, or say what to do."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from qsynth.errors import DataError

TIMEOUT_S = 15.0
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Remote:
    """Name a file's official address and its checksum (algorithm and hex digest)."""

    url: str
    algorithm: str
    digest: str

    @property
    def file_name(self) -> str:
        """Return the last part of the address."""
        return self.url.rsplit("/", 1)[1]


def search_path(root: str | None) -> list[Path]:
    """Return the folders to look in: `data.root` alone, or $QSYNTH_DATA_DIR and the cache."""
    if root is not None:
        return [Path(root).expanduser()]
    places = [Path.home() / ".cache" / "qsynth" / "data"]
    if "QSYNTH_DATA_DIR" in os.environ:
        places.insert(0, Path(os.environ["QSYNTH_DATA_DIR"]))
    return places


def find(places: list[Path], candidates: tuple[str, ...]) -> Path | None:
    """Return the first of the candidate paths that exists in one of the places."""
    for place in places:
        for candidate in candidates:
            if (place / candidate).exists():
                return place / candidate
    return None


def fetch(name: str, places: list[Path], folder: str, remotes: tuple[Remote, ...]) -> Path:
    """Download files into `places[-1]/folder` and return it.

    Raises DataError, one line, where the network or the checksum fails: where the files were
    looked for, how to point to them, and which recipe needs none.
    """
    target = places[-1] / folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        for remote in remotes:
            if not (target / remote.file_name).exists():
                download(remote, target / remote.file_name)
    except (OSError, urllib.error.URLError) as error:
        looked = ", ".join(str(place) for place in places)
        raise DataError(
            f"{name}: no files in {looked}, and the download failed ({error}); point to them "
            f"with data.root=FOLDER or QSYNTH_DATA_DIR; +recipe=digits_mesh needs no files"
        ) from None
    return target


def download(remote: Remote, path: Path) -> None:
    """Write a file from its official address, with a progress bar and its checksum verified."""
    sum_ = hashlib.new(remote.algorithm)
    # The addresses are constants of this package, never a user's or a recipe's.
    with urllib.request.urlopen(remote.url, timeout=TIMEOUT_S) as answer:  # noqa: S310
        total = int(answer.headers.get("Content-Length") or 0) or None
        shown = sys.stderr.isatty()
        handle = tempfile.NamedTemporaryFile(dir=path.parent, delete=False)
        with (
            handle as file,
            tqdm(total=total, unit="B", unit_scale=True, desc=path.name, disable=not shown) as bar,
        ):
            while chunk := answer.read(CHUNK_BYTES):
                sum_.update(chunk)
                file.write(chunk)
                bar.update(len(chunk))
    if sum_.hexdigest() != remote.digest:
        os.unlink(handle.name)
        raise DataError(f"{remote.url}: {remote.algorithm} is not {remote.digest}; not kept")
    os.replace(handle.name, path)
