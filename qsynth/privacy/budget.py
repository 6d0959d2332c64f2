"""What a node has released so far, on disk before anything of it leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from qsynth.errors import StateError
from qsynth.privacy.base import PrivacyRule
from qsynth.privacy.noise import sync_folder
from qsynth.privacy.release import Release
from qsynth.schema import name_of

FILE = "privacy.jsonl"


class Budget:
    """Count a node's releases against what its rule allows.

    home: folder of the file that keeps them, a line a release; None: for this object alone.
    Raises StateError where that file cannot be read: what was spent must not be forgotten.
    """

    def __init__(self, rule: PrivacyRule, home: Path | None) -> None:
        self.rule, self._path = rule, None if home is None else home / FILE
        self._spent: dict[str, float] = {}
        if self._path is not None and self._path.exists():
            self._spent = _read(self._path)

    @property
    def spent(self) -> list[float]:
        """Return the noise multipliers of all releases."""
        return list(self._spent.values())

    def takes(self, release: Release | None) -> bool:
        """Return whether a release may leave; one that may is spent from now on.

        Raises StateError where that cannot be written.
        """
        if release is None or release.digest in self._spent:
            return True
        if not self.rule.allows(self.spent, release.multiplier):
            return False
        if self._path is not None:
            _append(self._path, {"release": release.digest, "multiplier": release.multiplier})
        self._spent[release.digest] = release.multiplier
        return True

    def told(self) -> dict[str, Any] | None:
        """Return guarantee, spent and left; None where nothing is guaranteed."""
        return self.rule.told(self.spent)


def check_home(rule: PrivacyRule, published: bool, home: Path) -> None:
    """Raise StateError where exact statistics have left a home that shall keep a guarantee.

    published: whether its node has a packet out there.
    """
    if rule.guarded and published and not (home / FILE).exists():
        raise StateError(
            f"{home}: its node has published exact statistics, of which "
            f"privacy={name_of(rule)} knows no cost; begin in another home, and count from there"
        )


def _read(path: Path) -> dict[str, float]:
    spent = {}
    try:
        whole, _, torn = path.read_text(encoding="utf-8").rpartition("\n")
        if torn:  # its writer was killed, and has published nothing of it
            os.truncate(path, len(whole.encode()) + 1 if whole else 0)
        for line in whole.splitlines():
            entry = json.loads(line)
            spent[str(entry["release"])] = float(entry["multiplier"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"{path}: tells of the privacy that was spent, and cannot be read "
            f"({type(error).__name__}: {error}); mend it: what it tells has left"
        ) from None
    return spent


def _append(path: Path, entry: dict[str, Any]) -> None:
    """Append a line, and wait until it is on disk; of one that fails nothing is left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            size = file.tell()
            try:
                file.write(json.dumps(entry).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, size)
                raise
        sync_folder(path.parent)
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error})") from None
