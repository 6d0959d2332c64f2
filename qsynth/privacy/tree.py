"""Releases of records that grow: each record is in one sum a level of a tree, however often.

The interval (level, place) holds the batches from place * 2**level up to the next interval.  All
batches so far are a few intervals next to each other, whose noisy sums are added (Chan, Shi & Song
2011, section 3).  The sum of an interval is also that of its two halves: the mean of both, each
weighed by how sure it is, is surer than either (Honaker 2015, section 3.1, from below).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qsynth.types import Floats


@dataclass(frozen=True)
class Interval:
    """Batches from place * 2**level up to the next interval of the level."""

    level: int
    place: int

    @property
    def halves(self) -> tuple[Interval, Interval]:
        """Return the two intervals below it."""
        return Interval(self.level - 1, 2 * self.place), Interval(
            self.level - 1, 2 * self.place + 1
        )

    def rows(self, ends: Sequence[int]) -> slice:
        """Return the records of its batches.  ends: number of records after each batch."""
        first, last = self.place << self.level, (self.place + 1) << self.level
        return slice(ends[first - 1] if first else 0, ends[last - 1])


# Gives the released numbers of an interval, as arrays that can be added up.
Summed = Callable[[Interval], tuple[Floats, ...]]


def levels(batches: int) -> int:
    """Return in how many intervals a record is at most, of so many batches."""
    return batches.bit_length()


def cover(batches: int) -> list[Interval]:
    """Return the fewest intervals that together hold so many batches, the largest first."""
    made, first = [], 0
    for level in reversed(range(levels(batches))):
        if batches >> level & 1:
            made.append(Interval(level, first >> level))
            first += 1 << level
    return made


def below(interval: Interval) -> Iterator[Interval]:
    """Yield an interval and all that are within it."""
    yield interval
    if interval.level:
        for half in interval.halves:
            yield from below(half)


def intervals(batches: int) -> list[Interval]:
    """Return all intervals that have been released once there are so many batches."""
    return [each for whole in cover(batches) for each in below(whole)]


def added_up(batches: int, released: Summed) -> tuple[tuple[Floats, ...], float]:
    """Return the numbers of all batches, and their noise: its variance over that of one release.

    released: gives the noisy numbers of an interval, all of them with noise of one variance.
    """
    parts = [_surest(interval, released) for interval in cover(batches)]
    total = tuple(np.sum(arrays, axis=0) for arrays in zip(*(p[0] for p in parts), strict=True))
    return total, sum(variance for _, variance in parts)


def _surest(interval: Interval, released: Summed) -> tuple[tuple[Floats, ...], float]:
    """Return the numbers of an interval by its own sum and those of all within it."""
    own = released(interval)
    if not interval.level:
        return own, 1.0
    (one, first), (other, second) = (_surest(half, released) for half in interval.halves)
    apart = first + second
    weight = apart / (1.0 + apart)  # the inverse of a variance against that of the other
    both = zip(own, one, other, strict=True)
    return tuple(weight * w + (1.0 - weight) * (a + b) for w, a, b in both), weight
