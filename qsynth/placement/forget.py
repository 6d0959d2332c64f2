"""Forget an author: drop its packets for good, and take the network back to before any counted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from qsynth.errors import ConfigError
from qsynth.node.state import FORGOTTEN, HELD, KEPT, Entry, State
from qsynth.types import NodeId

CHECKPOINT, BEFORE, SCRATCH = "checkpoint.ckpt", "before.ckpt", "before.scratch"
ID_BYTES, LEAST_DIGITS = 32, 8


def forget(home: Path, author: str) -> dict[str, Any]:
    """Return what was forgotten, and whether the network is still influenced.

    The head is summed anew from the packets that are left whenever the node goes on: what it has
    forgotten leaves no trace there.  Raises StateError where the node is running.
    """
    with State(home) as state:
        entries = state.load()
        node = _named(author, entries)
        kept = [e for e in entries if not _is_of(e, node)]
        state.replace([*kept, Entry(FORGOTTEN, node)])
    used = any(node.hex() in result["ever_used"] for result in _results(home))
    influenced = False
    if used:
        influenced = not _take_back(home)
        for path in home.glob("nodes/*/predictor.pt"):
            path.unlink()  # it answers with the forgotten; the next life writes another
    return {
        "author": node.hex(), "packets_dropped": len(entries) - len(kept), "had_counted": used,
        "network_still_influenced": influenced,
    }  # fmt: skip


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


def _results(home: Path) -> list[dict[str, Any]]:
    found = []
    for path in home.glob("nodes/*/result.json"):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            continue  # torn: the node was killed before its first result
    return found


def _take_back(home: Path) -> bool:
    """Return whether the training could be taken back to before any author counted."""
    if (home / BEFORE).exists():
        part = home / f"{CHECKPOINT}.part"
        shutil.copyfile(home / BEFORE, part)
        part.replace(home / CHECKPOINT)
        return True
    if (home / SCRATCH).exists():
        (home / CHECKPOINT).unlink(missing_ok=True)
        return True
    return False
