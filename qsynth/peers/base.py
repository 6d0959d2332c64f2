"""What every way of choosing peers has, and what code asks of its options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qsynth.errors import ConfigError
from qsynth.schema import name_of, option, setting
from qsynth.similarity import cosine
from qsynth.types import Fingerprint, NodeId

if TYPE_CHECKING:
    from qsynth.dht import Contact

Likeness = Callable[[Fingerprint, Fingerprint], float]


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
        counted.  likelihood: of own samples in held-out folds, in nats a sample.
        """

    def forged(self, contact: Contact) -> None:
        """Note that an author's packet has not borne out the fingerprint announced for it."""

    def arrived(self, author: NodeId, version: int) -> None:
        """Note that a packet of an author has been admitted."""


class ChoosingOption(Protocol):
    """What every option of the group `peers` is, one that a package brings as well."""

    def choosing(self, seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing.  alike: how alike two fingerprints are."""


class Situation(Protocol):
    """What an experiment knows of a node: what it would publish, and how it compares."""

    support: int
    fingerprint: Fingerprint
    query: Fingerprint
    same: float  # how alike a node of the same data would look

    def alike(self, one: Fingerprint, other: Fingerprint) -> float:
        """Return how alike two fingerprints are."""


class KnownFleet(Protocol):
    """What an experiment in `simulate` knows of all nodes, by their names."""

    @property
    def ids(self) -> Mapping[str, NodeId]:
        """Return each node's id."""

    @property
    def seeds(self) -> Mapping[str, int]:
        """Return each node's seed."""

    @property
    def groups(self) -> Mapping[str, int | None]:
        """Return each node's true group."""

    def situations(self) -> Mapping[str, Situation]:
        """Return what each node would publish: it is encoded and distilled for it."""


class PeersOptions:
    """What code asks an option for.  An option of this package subclasses it."""

    name: str
    informed = False  # knows more than a node can: for experiments in `simulate`
    adds_statistics = False  # of packets, to sums

    def first(self) -> int:
        """Return how many authors a node looks for at first; 0: it does not go by a number."""
        return 0

    def floor(self) -> float | None:
        """Return the least similarity of a peer, as a share of one's own; None: any will do."""
        return None

    def wanted(self, fleet: KnownFleet) -> dict[str, list[NodeId]]:
        """Return the authors that an informed option chooses for each node, by its name."""
        return {}

    def choosing(self, seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing.  alike: how alike two fingerprints are."""
        raise NotImplementedError

    def choosing_of(self, wanted: Sequence[NodeId], seed: int, alike: Likeness) -> Peers:
        """Return one node's way of choosing, where an informed option has chosen for it."""
        return self.choosing(seed, alike)


@option("peers")
@dataclass(frozen=True)
class Few(PeersOptions):
    """What every option has that learns from a few peers."""

    k: int = setting(3, "authors a node holds packets of", low=1, high=256)

    def first(self) -> int:
        """Return how many authors a node looks for."""
        return self.k


@option("peers")
@dataclass(frozen=True)
class Alike(PeersOptions):
    """What every option has that learns from those alone that are alike."""

    min_similarity: float = setting(
        0.6, "floor, as a share of how alike a node of the same data would look", low=0.0, high=2.0
    )

    def floor(self) -> float | None:
        """Return the least similarity of a peer, as a share of one's own."""
        return self.min_similarity


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


def first_k(peers: object) -> int:
    """Return how many authors a node looks for at first; 0 for a way of choosing without them.

    A package's option may be no `PeersOptions`.
    """
    return peers.first() if isinstance(peers, PeersOptions) else 0


def floor_of(peers: object) -> float | None:
    """Return the least similarity of a peer, as a share of one's own; None: any will do."""
    return peers.floor() if isinstance(peers, PeersOptions) else None


def adds_statistics(peers: object) -> bool:
    """Return whether a way of choosing adds the statistics of packets to sums."""
    return isinstance(peers, PeersOptions) and peers.adds_statistics


def informed(peers: object) -> PeersOptions | None:
    """Return an option that knows more than a node can; None of all others."""
    return peers if isinstance(peers, PeersOptions) and peers.informed else None


def check_peers(peers: object, distill: object) -> None:
    """Raise ConfigError where peers cannot be had with packets of a rule."""
    if adds_statistics(peers) and name_of(distill) != "analytic":
        raise ConfigError(
            f"peers.name={name_of(peers)}: adds statistics; needs distill=analytic, "
            f"not {name_of(distill)}"
        )


def check_live_peers(peers: object) -> None:
    """Raise ConfigError where peers are chosen by what only an experiment knows."""
    if informed(peers) is not None:
        raise ConfigError(f"peers.name={name_of(peers)}: knows more than a node can")


def make_peers(
    config: ChoosingOption,
    seed: int,
    wanted: Sequence[NodeId] | None = None,
    alike: Likeness = cosine,
) -> Peers:
    """Return the way of choosing that a `peers` config names.

    alike: how alike two fingerprints are; by default their cosine.
    wanted: ids of the authors to learn from, where an experiment knows them.
    """
    known = informed(config)
    if known is not None:
        return known.choosing_of(wanted or (), seed, alike)
    return config.choosing(seed, alike)
