"""Ask the system for longer time slices where many nodes share a few cores.

Sixteen training processes that take turns every 3 ms on two cores keep emptying each other's
caches: they need a fifth more CPU time than two.  Linux 6.12 and later lets a thread ask for
another slice (sched_setattr(2), EEVDF); elsewhere nothing changes.
"""

from __future__ import annotations

import ctypes
import platform
import struct

SYSCALL = {"x86_64": 314, "aarch64": 274}
SLICE_NS = 30_000_000


def ask_long_slices() -> bool:
    """Ask for long slices of the calling thread alone; return whether the system agreed.

    The mesh thread keeps short ones, and so answers soon.
    """
    number = SYSCALL.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return False
    # struct sched_attr: size, policy, flags, nice, priority, runtime (the slice), deadline,
    # period, util_min, util_max.
    attributes = struct.pack("<IIQiIQQQII", 56, 0, 0, 0, 0, SLICE_NS, 0, 0, 0, 0)
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.syscall(number, 0, ctypes.create_string_buffer(attributes), 0) == 0)
