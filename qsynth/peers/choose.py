"""Choose authors: what to look up next, and which of the authors found to learn from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from qsynth.dht import Contact
from qsynth.peers.config import (
    FIRST_K,
    AllPeers,
    Central,
    Dissimilar,
    Oracle,
    RandomPeers,
    Semantic,
    Sums,
)
from qsynth.similarity import cosine
from qsynth.types import Fingerprint, NodeId

Alike = Callable[[Fingerprint, Fingerprint], float]
BARREN_LOOKUPS = 8  # in a row that found nobody new: no more follow at once
MOST_PASSED = 32  # authors that a lookup goes past
MOST_REFUSED = 1024  # authors remembered whose packets did not count
REFUSED_LOOKS = 16  # lookups until such an author is tried again
USED_SHARE = 0.75  # of the held authors that must count before more are looked for
LEAST_RISE = 0.005  # nats a sample that a larger k has to bring


class Peers(Protocol):
    """One way of choosing authors."""

    @property
    def k(self) -> int:
        """Return how many authors a node holds."""

    @property
    def reach(self) -> int:
        """Return how many contacts a lookup should find, so that k are left to learn from."""

    @property
    def hurry(self) -> bool:
        """Return whether another lookup should follow at once: authors are still missing."""

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return what to look up this period: a fingerprint, an id, or nothing."""

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return those contacts of a lookup whose packets are wanted.

        same: how alike a node of the same data would look.
        """

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return which held authors to learn from, at most k, sorted by id."""

    def learned(
        self, held: Mapping[NodeId, int], used: Collection[NodeId], likelihood: float
    ) -> None:
        """Note how a new synthesis went.

        held: authors that it was given, with the version of their packets.  used: those that
        counted.  likelihood: of own samples in
        held-out folds, in nats a sample.
        """

    def forged(self, contact: Contact) -> None:
        """Note that an author's packet has not borne out the fingerprint announced for it."""

    def arrived(self, author: NodeId, version: int) -> None:
        """Note that a packet of an author has been admitted."""


@runtime_checkable
class PeersOption(Protocol):
    """What an option of the group `peers` is that a package brings."""

    def choosing(self, seed: int, alike: Alike) -> Peers:
        """Return one node's way of choosing.  alike: how alike two fingerprints are."""


class Fixed:
    """What ways of choosing share that do not follow how their choice went."""

    k: int

    @property
    def reach(self) -> int:
        """Return k: nobody makes room for others."""
        return self.k

    def forged(self, contact: Contact) -> None:
        """Change nothing."""

    def arrived(self, author: NodeId, version: int) -> None:
        """Change nothing."""

    def learned(
        self, held: Mapping[NodeId, int], used: Collection[NodeId], likelihood: float
    ) -> None:
        """Change nothing."""


class SemanticPeers(Fixed):
    """Choose the k most alike, above a floor relative to one's own noise.

    min_similarity: a share of how alike a node of the same data would look; -inf lets all in.
    alike: how alike two fingerprints are.  replaces: whether authors make room for others whose
    packets have not counted, until they publish anew.
    """

    hurry = False

    def __init__(self, k: int, min_similarity: float, alike: Alike, replaces: bool = False) -> None:
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
        self, most: int, min_similarity: float, alike: Alike, replaces: bool = False
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


class SumPeers(SemanticPeers):
    """Choose every sum over authors that are alike; lookups only make others known."""

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return nobody: sums are asked for, not single packets."""
        return []

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return whoever holds a sum, or a packet, above the floor."""
        floor = self._floor(same)
        return sorted(node for node, print_ in held.items() if self.alike(own, print_) >= floor)


class DissimilarPeers(Fixed):
    """Choose the k least alike: look up the opposite of one's own fingerprint."""

    hurry = False

    def __init__(self, k: int) -> None:
        self.k = k

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return the opposite of one's own fingerprint."""
        return np.negative(own) if own.any() else None

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return the k least alike."""
        published = [c for c in contacts if c.version > 0]
        return sorted(published, key=lambda c: (cosine(own, c.vector()), c.id))[: self.k]

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return the k least alike."""
        scored = sorted((cosine(own, print_), node) for node, print_ in held.items())
        return sorted(node for _, node in scored[: self.k])


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


class NobodyPeers(Fixed):
    """Choose nobody."""

    k = 0
    hurry = False

    def target(self, own: Fingerprint) -> Fingerprint | NodeId | None:
        """Return nothing to look up."""
        return None

    def found(self, contacts: Sequence[Contact], own: Fingerprint, same: float) -> list[Contact]:
        """Return nobody."""
        return []

    def authors(
        self, held: Mapping[NodeId, Fingerprint], own: Fingerprint, same: float
    ) -> list[NodeId]:
        """Return nobody."""
        return []


def make_peers(
    config: Any, seed: int, wanted: Sequence[NodeId] | None = None, alike: Alike = cosine
) -> Peers:
    """Return the way of choosing that a `peers` config names.

    alike: how alike two fingerprints are.
    wanted: ids of the authors to learn from, for `oracle` and `central` (experiments).
    """
    if isinstance(config, PeersOption):
        return config.choosing(seed, alike)
    rng = np.random.default_rng([seed, 8])
    if isinstance(config, (Oracle, Central)):
        return DrawnPeers(config.k, rng, wanted or ())
    if isinstance(config, Sums):
        return SumPeers(config.k, config.min_similarity, alike)
    if isinstance(config, Semantic):
        if config.k == "auto":
            return AutoPeers(config.k_most, config.min_similarity, alike, config.replace_refused)
        return SemanticPeers(config.k, config.min_similarity, alike, config.replace_refused)
    if isinstance(config, AllPeers):
        return SemanticPeers(config.k, -np.inf, alike)
    if isinstance(config, Dissimilar):
        return DissimilarPeers(config.k)
    if isinstance(config, RandomPeers):
        return DrawnPeers(config.k, rng, None)
    return NobodyPeers()
