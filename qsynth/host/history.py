"""What a node remembers of the batches in which its records came, so that none changes its part."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qsynth.errors import StateError
from qsynth.pipeline.publication import Rules, Samples
from qsynth.privacy.contribution import digest_of

FILE = "batches.json"


@dataclass(frozen=True)
class History:
    """Hold the batches of a home's node.

    ends: number of records after each batch.  digests: of the records of each batch.  least: of a
    class, that its packets tell of.
    """

    ends: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()
    least: int = 0

    @classmethod
    def load(cls, home: Path) -> History:
        """Return what is remembered; nothing in a new home.  Raises StateError."""
        path = home / FILE
        try:
            kept = json.loads(path.read_text(encoding="ascii"))
            ends = tuple(int(end) for end in kept["ends"])
            digests = tuple(str(digest) for digest in kept["digests"])
            least = int(kept["least"])
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{path}: tells in which batches records came, and cannot be read "
                f"({type(error).__name__}: {error})"
            ) from None
        if list(ends) != sorted(set(ends)) or len(ends) != len(digests):
            raise StateError(f"{path}: tells in which batches records came, and is damaged")
        return cls(ends, digests, least)

    def save(self, home: Path) -> None:
        """Write it, whole or not at all.  Raises StateError."""
        path, part = home / FILE, home / f"{FILE}.part"
        try:
            home.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="ascii") as file:
                json.dump(asdict(self), file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            raise StateError(f"{path}: cannot be written ({error})") from None

    def follow(self, known: History, rules: Rules, home: Path) -> None:
        """Remember this in the place of what was known.

        Raises StateError where exact packets of several batches would tell of fewer samples.
        """
        if len(known.ends) > 1 and known.least != self.least and not rules.privacy.noisy:
            raise StateError(
                f"distill.min_support={self.least}: packets of {home} were made with "
                f"{known.least}, and two would differ by fewer; give {known.least}, or begin in "
                "another home"
            )
        if self != known:
            self.save(home)

    def changed(self, digests: Sequence[str]) -> int | None:
        """Return the first batch whose records are others now; None where all are the same.

        digests: of batches that are there now; further ones may follow.
        """
        for batch, digest in enumerate(self.digests):
            if batch >= len(digests) or digests[batch] != digest:
                return batch
        return None


def in_batches(samples: Samples, rules: Rules, home: Path, tells: bool = True) -> Samples:
    """Return samples in the batches that a home remembers, and have it remember the new one.

    Raises StateError where samples of an earlier life are others now: its packets would tell of the
    difference.  Under a guarantee for single records they begin anew, and are paid for; so they do
    where nothing leaves.  tells: whether packets may leave.
    """
    known, ends = History.load(home), samples.ends or (len(samples.train_y),)
    there = tuple(end for end in known.ends if end <= len(samples.train_y))
    arrays = samples.train_x, samples.train_y
    same = bool(there) and known.changed(digests_of(there, *arrays)) is None
    if known.ends and not same and tells and not rules.privacy.noisy:
        raise StateError(
            f"home={home}: its first {known.ends[-1]} training samples are not those of before, "
            "and two packets would tell of the difference; give those first and new ones after "
            "them, or begin in another home"
        )
    if same:
        ends = (*there, *(end for end in ends if end > there[-1]))
    made = History(ends, digests_of(ends, *arrays), least_of(rules))
    made.follow(known, rules, home)
    return replace(samples, ends=ends if len(ends) > 1 else ())


def least_of(rules: Rules) -> int:
    """Return how many samples of a class a packet tells of at least."""
    return rules.distill.statistics().min_support


def digests_of(ends: Sequence[int], *arrays: Any) -> tuple[str, ...]:
    """Return the digest of each batch.  arrays: of all records; ends: as of a history."""
    starts = (0, *ends[:-1])
    return tuple(
        digest_of(*(array[first:end] for array in arrays)).hex()
        for first, end in zip(starts, ends, strict=True)
    )
