"""What a node's process has for itself, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import platform
import resource

M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8  # of malloc.h


def release() -> None:
    """Give freed memory back to the system: many nodes share one machine.

    glibc keeps what a teaching pool has needed for a moment; elsewhere nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def lean() -> None:
    """Keep small what the allocator of this process, and of those forked from it, holds back.

    One arena for all threads, and blocks of a page or more mapped apart: with glibc alone.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option, value in ((M_ARENA_MAX, 1), (M_MMAP_THRESHOLD, 64 * 1024)):
            libc.mallopt(option, value)


def private_mib() -> float:
    """Return the MiB that this process has for itself, not shared with the others."""
    total = 0
    try:
        with open("/proc/self/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith(("Private_Clean", "Private_Dirty")):
                    total += int(line.split()[1])
        return total / 1024.0
    except OSError:
        # No such file outside Linux: the largest resident size is an upper bound.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
