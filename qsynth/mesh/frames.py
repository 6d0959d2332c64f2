"""Frames of the pynng transport: a byte of flags, then one message or several."""

from __future__ import annotations

import struct
from collections import deque

BUFFER_MESSAGES = 512  # in a frame, or waiting for one
DATA, ACKNOWLEDGED, MANY = 1, 2, 4  # bits of a frame's first byte
FRAMING = 1 + 4  # bytes around a message: our flags, and the hop count of Pair1
LENGTH = struct.Struct("<I")  # before each of several messages in a frame


def messages_in(frame: bytes) -> list[bytes] | None:
    """Return the messages of a frame, or None where it is none of ours."""
    if not frame or frame[0] not in (DATA, ACKNOWLEDGED, 3, DATA | MANY, 3 | MANY):
        return None
    if not frame[0] & MANY:
        return [frame[1:]] if frame[0] & DATA else []
    found: list[bytes] = []
    at = 1
    while at < len(frame):
        if at + LENGTH.size > len(frame) or len(found) == BUFFER_MESSAGES:
            return None
        (size,) = LENGTH.unpack_from(frame, at)
        at += LENGTH.size
        if not 0 < size <= len(frame) - at:
            return None
        found.append(frame[at : at + size])
        at += size
    return found


def next_frame(waiting: deque[bytes], most: int) -> tuple[bytes, int]:
    """Take what goes into the next frame: one message, or as many as there is room for.

    most: bytes of messages in a frame.  Return them, and the frame's flags.
    """
    first = waiting.popleft()
    room = most - 2 * LENGTH.size - len(first)
    if not waiting or len(waiting[0]) > room:
        return first, DATA
    parts = [LENGTH.pack(len(first)), first]
    while waiting and len(waiting[0]) <= room:
        message = waiting.popleft()
        room -= len(message) + LENGTH.size
        parts += [LENGTH.pack(len(message)), message]
    return b"".join(parts), DATA | MANY
