"""Tasks: one meaning, one hash."""

from __future__ import annotations

import msgspec

from qsynth.types import Task


def test_whole_numbers_and_numbers_give_one_task() -> None:
    """A task that is read back from a file is the one that was written."""
    task = Task("t", 1, ("a", "b"), "vector", (3,), "", -5, 5, (1, 2, 3), (1,))
    same = Task("t", 1, ("a", "b"), "vector", (3,), "", -5.0, 5.0, (1.0, 2.0, 3.0), (1.0,))
    assert task.digest() == same.digest()
    assert task.field_digests() == same.field_digests()
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(task), type=Task)
    assert read.digest() == task.digest()
    assert read == task
