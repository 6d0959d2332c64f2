"""Peers `random`: nodes drawn once at random, the control of semantic routing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qsynth.peers.base import Few, Fixed, Likeness, Peers
from qsynth.schema import option, setting
from qsynth.types import Fingerprint, NodeId

if TYPE_CHECKING:
    from qsynth.dht import Contact

BARREN_LOOKUPS = 8  # in a row that found nobody new: no more follow at once


@option("peers")
@dataclass(frozen=True)
class RandomPeers(Few):
    """Learn from nodes drawn once at random: the control of semantic routing."""

    name: str = setting("random", "the option's name", choices=("random",))

    def choosing(self, seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing."""
        return DrawnPeers(self.k, np.random.default_rng([seed, 8]), None)


class DrawnPeers(Fixed):
    """Choose k nodes once: each is the one nearest to a random id.

    k: authors at most.  wanted: ids to choose instead of drawing, for experiments.
    """

    def __init__(self, k: int, rng: np.random.Generator, wanted: Sequence[NodeId] | None) -> None:
        self.k = k if wanted is None else len(wanted)
        self._rng, self._wanted = rng, wanted
        self._drawn: dict[NodeId, None] = {}
        self._tries = self._barren = 0

    @property
    def hurry(self) -> bool:
        """Return whether authors are missing: one is drawn a lookup, so several follow at once.

        Not after some lookups that found nobody new: the fleet may have fewer nodes.
        """
        return len(self._drawn) < self.k and self._barren < BARREN_LOOKUPS

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return a random id, or a wanted one; once all are drawn, the id of one of them."""
        if self.k == 0:
            return None
        if len(self._drawn) >= self.k:
            return list(self._drawn)[int(self._rng.integers(self.k))]
        self._tries += 1
        if self._wanted is None:
            return self._rng.bytes(32)
        missing = [node for node in self._wanted if node not in self._drawn]
        return missing[self._tries % len(missing)]

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Draw the first contact that is new; return the drawn ones found."""
        for contact in contacts:
            new = contact.version > 0 and contact.id not in self._drawn
            new &= self._wanted is None or contact.id in self._wanted
            if new and len(self._drawn) < self.k:
                self._drawn[contact.id] = None
                self._barren = -1
                break
        self._barren += 1
        return [c for c in contacts if c.id in self._drawn and c.version > 0]

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return the drawn authors."""
        return sorted(node for node in held if node in self._drawn)
