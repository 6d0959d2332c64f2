"""Peers `semantic`: the most alike, and others instead of those whose packets did not count."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from qsynth.peers.base import Alike, Fixed, Likeness, Peers
from qsynth.schema import option, setting
from qsynth.types import Fingerprint, NodeId

if TYPE_CHECKING:
    from qsynth.dht import Contact

FIRST_K = 3  # authors that `k=auto` begins with
MOST_PASSED = 32  # authors that a lookup goes past
MOST_REFUSED = 1024  # authors remembered whose packets did not count
REFUSED_LOOKS = 16  # lookups until such an author is tried again
USED_SHARE = 0.75  # of the held authors that must count before more are looked for
LEAST_RISE = 0.005  # nats a sample that a larger k has to bring


@option("peers")
@dataclass(frozen=True)
class Semantic(Alike):
    """Learn from the nodes whose data situation is most alike."""

    name: str = setting("semantic", "the option's name", choices=("semantic",))
    k: int | Literal["auto"] = setting(
        3,
        "authors a node holds packets of; auto: more by and by, while they help own samples",
        low=1,
        high=256,
    )
    k_most: int = setting(16, "authors at most, with k=auto", low=1, high=256)
    replace_refused: bool = setting(
        True, "look for others instead of authors whose packets the synthesis gate has refused"
    )

    def first(self) -> int:
        """Return how many authors a node looks for at first."""
        return FIRST_K if self.k == "auto" else self.k

    def choosing(self, seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing."""
        if self.k == "auto":
            return AutoPeers(self.k_most, self.min_similarity, alike, self.replace_refused)
        return SemanticPeers(self.k, self.min_similarity, alike, self.replace_refused)


class SemanticPeers(Fixed):
    """Choose the k most alike, above a floor relative to one's own noise.

    min_similarity: a share of how alike a node of the same data would look; -inf lets all in.
    alike: how alike two fingerprints are.  replaces: whether authors make room for others whose
    packets have not counted, until they publish anew.
    """

    hurry = False

    def __init__(
        self, k: int, min_similarity: float, alike: Likeness, replaces: bool = False
    ) -> None:
        self.k, self.min_similarity, self.alike = k, min_similarity, alike
        self.replaces = replaces
        self._looks = 0
        # The version that did not count, and the lookup from which it is tried again.
        self._refused: dict[NodeId, tuple[int, int]] = {}
        self._forged: dict[NodeId, bytes] = {}  # fingerprints that packets did not bear out

    def learned(
        self, held: Mapping[NodeId, int], used: Collection[NodeId], likelihood: float
    ) -> None:
        """Note whose packets have not counted."""
        if not self.replaces:
            return
        for author, version in held.items():
            self._refused.pop(author, None)
            if author not in used and len(self._refused) < MOST_REFUSED:
                self._refused[author] = (version, self._looks + REFUSED_LOOKS)

    @property
    def reach(self) -> int:
        """Return k, and one more for each author that makes room for others."""
        return self.k + min(len(self._refused) + len(self._forged), MOST_PASSED)

    def forged(self, contact: Contact) -> None:
        """Note which fingerprint an author's packet does not bear out."""
        if self.replaces and len(self._forged) < MOST_REFUSED:
            self._forged[contact.id] = contact.fingerprint

    def arrived(self, author: NodeId, version: int) -> None:
        """Note that an author has published anew."""
        if author in self._refused and version > self._refused[author][0]:
            del self._refused[author]

    def _makes_room(self, contact: Contact) -> bool:
        refused = self._refused.get(contact.id)
        if self._forged.get(contact.id) == contact.fingerprint:
            return True
        return refused is not None and contact.version <= refused[0]

    def _floor(self, same: float) -> float:
        return self.min_similarity * same if np.isfinite(self.min_similarity) else -np.inf

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return one's own fingerprint."""
        return own if own.any() else None

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return the alike ones among the k best."""
        floor = self._floor(same)
        self._looks += 1
        for author in [a for a, (_, until) in self._refused.items() if until <= self._looks]:
            del self._refused[author]
        scored = [
            (self.alike(own, c.vector()), c)
            for c in contacts
            if c.version > 0 and not self._makes_room(c)
        ]
        # As they came where equal: the lookup's own order is by the whole fingerprints.
        ranked = sorted(scored, key=lambda entry: -entry[0])
        return [contact for score, contact in ranked if score >= floor][: self.k]

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return the k most alike above the floor."""
        floor = self._floor(same)
        scored = sorted(
            (-self.alike(own, print_), node)
            for node, print_ in held.items()
            if node not in self._refused
        )
        return sorted(node for score, node in scored[: self.k] if -score >= floor)


class AutoPeers(SemanticPeers):
    """Choose the most alike, and more of them for as long as own samples are the better for it.

    most: authors at most.
    """

    def __init__(
        self, most: int, min_similarity: float, alike: Likeness, replaces: bool = False
    ) -> None:
        super().__init__(min(FIRST_K, most), min_similarity, alike, replaces)
        self.most, self._settled = most, False
        self._reached: dict[int, float] = {}  # likelihood by k

    def learned(
        self, held: Mapping[NodeId, int], used: Collection[NodeId], likelihood: float
    ) -> None:
        """Double k where most of k count and they brought more than fewer had, or settle.

        Where a larger k has brought nothing, the one before it is kept.
        """
        super().learned(held, used, likelihood)
        if self._settled or len(held) < self.k:
            return
        self._reached[self.k] = likelihood
        before = max((k for k in self._reached if k < self.k), default=None)
        if before is not None and likelihood < self._reached[before] + LEAST_RISE:
            self.k, self._settled = before, True
        elif len(used) >= USED_SHARE * len(held) and self.k < self.most:
            self.k = min(2 * self.k, self.most)
