"""Whether a publication may leave: always, never, or once its owner has seen it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qsynth.files import write_json
from qsynth.packet import payload_digest
from qsynth.pipeline.publication import Publication

AUTO, ASK, NEVER = "auto", "ask", "never"
PENDING, APPROVED = "pending.json", "approved"


class Consent:
    """Decide for one node, whose home is a folder.

    mode: auto, ask or never.
    """

    def __init__(self, mode: str, home: Path) -> None:
        self.mode, self.home = mode, home
        self._told = ""

    def permits(self, publication: Publication) -> bool:
        """Return whether a publication may leave now; if its owner is asked, write what it is."""
        if self.mode != ASK:
            return self.mode == AUTO
        digest = payload_digest(publication.payload)
        if digest in approved(self.home):
            (self.home / PENDING).unlink(missing_ok=True)
            return True
        if digest != self._told:
            self._told = digest
            write_json(self.home / PENDING, described(publication))
        return False


def described(publication: Publication) -> dict[str, Any]:
    """Return what a publication tells, as plain values."""
    counts, given = publication.payload.get("counts"), publication.contribution
    multiplier = publication.releases[0].multiplier if publication.releases else None
    return {
        "digest": payload_digest(publication.payload),
        "samples": publication.support,
        "privacy": (given.multiplier or None) if given is not None else multiplier,
        "members": None if given is None else given.cohort.smallest,
        "numbers": None if given is None else list(given.sizes),
        "samples_by_class": None if counts is None else [int(n) for n in counts.ravel()],
        "arrays": {k: f"{v.dtype}{list(v.shape)}" for k, v in sorted(publication.payload.items())},
        "payload_bytes": sum(array.nbytes for array in publication.payload.values()),
    }


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
