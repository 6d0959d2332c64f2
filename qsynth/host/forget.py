"""Forget an author: drop its packets for good, and take the network back to before any counted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qsynth.errors import ConfigError, StateError
from qsynth.identity.seal import SUFFIX, seal, sealed
from qsynth.protocol.journal import FORGOTTEN, HELD, KEPT, Entry, State
from qsynth.types import NodeId

CHECKPOINT, BEFORE, SCRATCH = "checkpoint.ckpt", "before.ckpt", "before.scratch"
USED = "ever_used"  # ids of authors that have counted, a line each, written before they teach
ID_BYTES, LEAST_DIGITS = 32, 8


def forget(home: Path, author: str) -> dict[str, Any]:
    """Return what was forgotten, and whether the network is still influenced.

    The head is summed anew from the packets that are left whenever the node goes on: what it has
    forgotten leaves no trace there.  Raises StateError where the node is running.
    """
    if not home.is_dir():
        raise ConfigError(f"--home={home}: no node has lived there")
    with State(home) as state:
        entries = state.load()
        node = _named(author, entries)
        kept = [e for e in entries if not _is_of(e, node)]
        state.replace([*kept, Entry(FORGOTTEN, node)])
    told = (home / USED).exists()
    # Without a record of whose packets have taught the network any may have.
    used = (
        node.hex() in used_authors(home)
        if told
        else bool(
            (home / BEFORE).exists() or (home / SCRATCH).exists() or (home / CHECKPOINT).exists()
        )
    )
    influenced = False
    if used:
        for path in home.glob(later_checkpoint("*")):
            drop(path)  # it was trained on after this one, and may have been taught
        influenced = not _take_back(home)
        for path in home.glob("nodes/*/predictor.pt"):
            path.unlink()  # it answers with the forgotten; the next life writes another
    return {
        "author": node.hex(),
        "packets_dropped": len(entries) - len(kept),
        "had_counted": used,
        "network_still_influenced": influenced,
    }


def later_checkpoint(batches: int | str) -> str:
    """Return the name of the checkpoint of what was trained after so many batches of records."""
    return f"checkpoint-{batches}.ckpt"


def _is_of(entry: Entry, node: NodeId) -> bool:
    return entry.kind in (HELD, KEPT) and entry.author is not None and entry.author.id == node


def _named(author: str, entries: list[Entry]) -> NodeId:
    """Return the id that is meant: in full, or its first digits among those known."""
    digits = author.lower()
    known = {e.author.id.hex() for e in entries if e.author is not None}
    if len(digits) == 2 * ID_BYTES and not set(digits) - set("0123456789abcdef"):
        return bytes.fromhex(digits)
    found = [name for name in known if name.startswith(digits)]
    if len(digits) < LEAST_DIGITS or len(found) != 1:
        raise ConfigError(
            f"node forget {author}: must be the id of an author, or {LEAST_DIGITS} of its digits "
            "that no other known here begins with"
        )
    return bytes.fromhex(found[0])


def used_authors(home: Path) -> set[str]:
    """Return the ids of all authors that have counted in any life of a home's node."""
    try:
        return set((home / USED).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return set()


def note_used(home: Path, authors: Iterable[NodeId]) -> None:
    """Write down whose packets count now, before they teach anything."""
    known = used_authors(home)
    new = sorted({author.hex() for author in authors} - known)
    if not new and (home / USED).exists():
        return
    try:
        with (home / USED).open("a", encoding="ascii") as file:
            file.write("".join(f"{author}\n" for author in new))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StateError(f"{home / USED}: cannot be written ({error})") from None


def _take_back(home: Path) -> bool:
    """Return whether the training could be taken back to before any author counted."""
    if (home / BEFORE).exists():
        copy_sealed(home / BEFORE, home / CHECKPOINT)
        return True
    if (home / SCRATCH).exists():
        (home / CHECKPOINT).unlink(missing_ok=True)
        return True
    return False


def copy_sealed(checkpoint: Path, to: Path) -> None:
    """Copy a checkpoint with its seal; what was there before is replaced at once."""
    part = to.with_name(to.name + ".part")
    shutil.copyfile(checkpoint, part)
    if sealed(checkpoint):
        seal(to, part)
    part.replace(to)


def drop(checkpoint: Path) -> None:
    """Delete a checkpoint and its seal, where they are there."""
    for path in (checkpoint, checkpoint.with_name(checkpoint.name + SUFFIX)):
        path.unlink(missing_ok=True)
