"""Whether data fit into memory, said before they are read."""

from __future__ import annotations

import zipfile
from pathlib import Path

from qsynth.errors import DataError

MOST_PACKED = 500  # times its size that a file may unpack to: zeros give 1,000
SMALL_BYTES = 64 << 20  # that any file may unpack to


def check_unpacked(path: Path, said: str) -> None:
    """Raise DataError where an .npz would unpack to more than it can be meant to, or than there is.

    said: how the user named it.  Raises OSError, BadZipFile.
    """
    with zipfile.ZipFile(path) as packed:
        size = sum(entry.file_size for entry in packed.infolist())
    here = path.stat().st_size
    mib = size / 2**20
    if size > max(SMALL_BYTES, MOST_PACKED * here):
        raise DataError(
            f"{said}: {here / 2**20:.1f} MiB that unpack to {mib:,.0f} MiB; data that are so "
            "regular on purpose are saved without packing: np.savez"
        )
    check_memory(said, size)


def check_memory(said: str, size: int) -> None:
    """Raise DataError where data of so many bytes are more than there is memory for."""
    there = _memory()
    if there is not None and size > there:
        raise DataError(
            f"{said}: unpacks to {size / 2**20:,.0f} MiB, {there / 2**20:,.0f} MiB of memory are "
            "free"
        )


def _memory() -> int | None:
    """Return the bytes of memory that are free, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None
