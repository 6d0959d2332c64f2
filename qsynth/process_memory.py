"""What a node's process has for itself, and giving back what it no longer needs."""

from __future__ import annotations

import ctypes
import platform
import resource
import time

M_ARENA_MAX = -8  # of malloc.h
OFTEN_S = 0.25  # nodes that share a process give back together: it takes a millisecond

_released = [0.0]  # when memory was last given back


def release() -> None:
    """Give freed memory back to the system: many nodes share one machine.

    glibc keeps what a teaching pool has needed for a moment; elsewhere nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
        _released[0] = time.monotonic()


def release_now_and_then() -> None:
    """Do the same, but not so often that many nodes in one process would feel it."""
    if time.monotonic() >= _released[0] + OFTEN_S:
        release()


def lean() -> None:
    """Let all threads of this process, and of those forked from it, share one arena of glibc's.

    Not smaller blocks mapped apart: they made training take two thirds more time.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


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
