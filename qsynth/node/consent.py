"""Whether an outcome may leave: always, never, or once its owner has seen it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.node.outcome import Outcome
from qsynth.node.recorder import write_json
from qsynth.packet import Payload
from qsynth.types import Fingerprint

AUTO, ASK, NEVER = "auto", "ask", "never"
PENDING, APPROVED = "pending.json", "approved"


def payload_digest(outcome: Outcome) -> str:
    """Return the SHA-256 of an outcome's arrays: what an owner consents to."""
    return digest_of(outcome.payload)


def digest_of(payload: Payload) -> str:
    """Return the SHA-256 of a payload's arrays."""
    hashed = hashlib.sha256()
    for key in sorted(payload):
        array = payload[key]
        hashed.update(f"{key}{array.dtype}{array.shape}".encode() + array.tobytes())
    return hashed.hexdigest()


def coarse(query: Fingerprint) -> Fingerprint:
    """Return a query that tells the signs alone of a fingerprint."""
    return (np.sign(query.astype(np.int16)) * 64).astype(np.int8)


class Consent:
    """Decide for one node, whose home is a folder.

    mode: auto, ask or never.
    """

    def __init__(self, mode: str, home: Path) -> None:
        self.mode, self.home = mode, home
        self._told = ""

    def permits(self, outcome: Outcome) -> bool:
        """Return whether an outcome may leave now; where its owner is asked, write what it is."""
        if self.mode != ASK:
            return self.mode == AUTO
        digest = payload_digest(outcome)
        if digest in approved(self.home):
            (self.home / PENDING).unlink(missing_ok=True)
            return True
        if digest != self._told:
            self._told = digest
            write_json(self.home / PENDING, described(outcome))
        return False


def described(outcome: Outcome) -> dict[str, Any]:
    """Return what an outcome tells, as plain values."""
    counts = outcome.payload.get("counts")
    return {
        "digest": payload_digest(outcome), "samples": outcome.support,
        "samples_by_class": None if counts is None else [int(n) for n in counts.ravel()],
        "arrays": {k: f"{v.dtype}{list(v.shape)}" for k, v in sorted(outcome.payload.items())},
        "payload_bytes": sum(array.nbytes for array in outcome.payload.values()),
    }  # fmt: skip


def approved(home: Path) -> set[str]:
    """Return the digests that the owner of a home has consented to."""
    try:
        return set((home / APPROVED).read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return set()


def approve(home: Path) -> str | None:
    """Consent to what a home's node wants to publish; return its digest, None where it asks not."""
    try:
        digest = str(json.loads((home / PENDING).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError):
        return None
    with (home / APPROVED).open("a", encoding="ascii") as file:
        file.write(digest + "\n")
    return digest
