"""What a node has released so far, on disk before anything of it leaves."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Sequence
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
        self._spent: dict[str, Release] = {}
        if self._path is not None and self._path.exists():
            self._spent = _read(self._path)

    @property
    def spent(self) -> list[float]:
        """Return the noise multipliers of all releases that one record may be in."""
        return most_of_a_record(self._spent.values())

    def takes(self, releases: Sequence[Release]) -> bool:
        """Return whether releases may leave together; those that may are spent from now on.

        Raises StateError where that cannot be written.
        """
        new = {each.digest: each for each in releases if each.digest not in self._spent}
        if not new:
            return True
        spent = self._spent | new
        if not self.rule.allows(most_of_a_record(spent.values())):
            return False
        if self._path is not None:
            _append(self._path, [_line(each) for each in new.values()])
        self._spent = spent
        return True

    def paid(self, releases: Sequence[Release]) -> bool:
        """Return whether all of these have been spent before."""
        return all(each.digest in self._spent for each in releases)

    def told(self) -> dict[str, Any] | None:
        """Return guarantee, spent and left; None where nothing is guaranteed."""
        told = self.rule.told(self.spent)
        if told is None:
            return None
        # A batch has one sum of its own, whatever others it is in.
        return told | {"releases": sum(not each.level for each in self._spent.values())}


def most_of_a_record(releases: Collection[Release]) -> list[float]:
    """Return the noise multipliers of the releases that one record may be in.

    Of a tree's level one, since no two of them have a record in common.  Where an interval has been
    released twice, records have changed, and may stand in any: then all of the tree count.
    """
    trees: dict[str, list[Release]] = {}
    for each in releases:
        trees.setdefault(each.tree, []).append(each)
    made = []
    for tree, within in trees.items():
        places = {(each.level, each.place) for each in within}
        if not tree or len(places) < len(within):
            made += [each.multiplier for each in within]
            continue
        least: dict[int, float] = {}
        for each in within:
            least[each.level] = min(each.multiplier, least.get(each.level, math.inf))
        made += list(least.values())
    return made


def _line(release: Release) -> dict[str, Any]:
    """Return a release as it stands in the file: its tree alone where it is of one."""
    made: dict[str, Any] = {"release": release.digest, "multiplier": release.multiplier}
    place = {"tree": release.tree, "level": release.level, "place": release.place}
    return made | (place if release.tree else {})


def check_home(rule: PrivacyRule, published: bool, home: Path) -> None:
    """Raise StateError where exact statistics have left a home that shall keep a guarantee.

    published: whether its node has a packet out there.
    """
    if rule.guarded and published and not (home / FILE).exists():
        raise StateError(
            f"{home}: its node has published exact statistics, of which "
            f"privacy={name_of(rule)} knows no cost; begin in another home, and count from there"
        )


def _read(path: Path) -> dict[str, Release]:
    spent = {}
    try:
        whole, _, torn = path.read_text(encoding="utf-8").rpartition("\n")
        if torn:  # its writer was killed, and has published nothing of it
            os.truncate(path, len(whole.encode()) + 1 if whole else 0)
        for line in whole.splitlines():
            entry = json.loads(line)
            spent[str(entry["release"])] = Release(
                str(entry["release"]),
                float(entry["multiplier"]),
                str(entry.get("tree", "")),
                int(entry.get("level", 0)),
                int(entry.get("place", 0)),
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(
            f"{path}: tells of the privacy that was spent, and cannot be read "
            f"({type(error).__name__}: {error}); mend it: what it tells has left"
        ) from None
    return spent


def _append(path: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Append lines, and wait until they are on disk; of those that fail nothing is left."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            size = file.tell()
            try:
                file.write(b"".join(json.dumps(each).encode() + b"\n" for each in entries))
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.truncate(path, size)
                raise
        sync_folder(path.parent)
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error})") from None
