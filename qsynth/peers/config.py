"""The options of the group `peers`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from qsynth.errors import ConfigError
from qsynth.schema import option, setting

FIRST_K = 3  # authors that `k=auto` begins with


class PeersOptions:
    """What code may ask every option for.  An option subclasses it."""

    def first(self) -> int:
        """Return how many authors a node looks for at first; 0: it does not go by a number."""
        return 0

    def floor(self) -> float | None:
        """Return the least similarity of a peer, as a share of one's own; None: any will do."""
        return None


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


@option("peers")
@dataclass(frozen=True)
class RandomPeers(Few):
    """Learn from nodes drawn once at random: the control of semantic routing."""

    name: str = setting("random", "the option's name", choices=("random",))


@option("peers")
@dataclass(frozen=True)
class Dissimilar(Few):
    """Learn from the nodes whose data situation is least alike: a control."""

    name: str = setting("dissimilar", "the option's name", choices=("dissimilar",))


@option("peers")
@dataclass(frozen=True)
class AllPeers(PeersOptions):
    """Learn from every node; without the gate this is AFL (analytic federated learning)."""

    name: str = setting("all", "the option's name", choices=("all",))
    k: int = setting(255, "authors a node holds packets of at most", low=1, high=256)

    def first(self) -> int:
        """Return how many authors a node looks for."""
        return self.k


@option("peers")
@dataclass(frozen=True)
class Oracle(Few):
    """Learn from nodes of one's own true group, drawn once: for experiments in `simulate`."""

    name: str = setting("oracle", "the option's name", choices=("oracle",))


@option("peers")
@dataclass(frozen=True)
class Central(Alike, Few):
    """Learn from the most alike by an index that knows all: for experiments in `simulate`."""

    name: str = setting("central", "the option's name", choices=("central",))


@option("peers")
@dataclass(frozen=True)
class Sums(Alike):
    """Learn from all that are alike, by sums over groups of them: one packet for each doubling."""

    name: str = setting("sums", "the option's name", choices=("sums",))
    k: int = setting(8, "contacts that a lookup finds", low=1, high=256)
    rank: int | None = setting(
        None, "low-rank factors of a sum's scatter; null: as many as of a packet's", low=0, high=256
    )
    max_leaves: int = setting(256, "authors in a sum at most", low=2, high=512)
    audit_share: float = setting(
        0.05, "of received sums whose parts are fetched and added again", low=0.0, high=1.0
    )
    refresh_periods: int = setting(
        16, "until a sum is asked for anew though no larger one is offered", low=1
    )

    def first(self) -> int:
        """Return how many contacts a lookup finds."""
        return self.k


@option("peers")
@dataclass(frozen=True)
class NoPeers(PeersOptions):
    """Learn from nobody: the pipeline alone."""

    name: str = setting("none", "the option's name", choices=("none",))


def first_k(peers: Any) -> int:
    """Return how many authors a node looks for at first; 0 for a way of choosing without them.

    A package's option may be no `PeersOptions`.
    """
    return peers.first() if isinstance(peers, PeersOptions) else 0


def check_peers(peers: Any, distill: Any) -> None:
    """Raise ConfigError where peers cannot be had with packets of a rule."""
    if isinstance(peers, Sums) and distill.name != "analytic":
        raise ConfigError(
            f"peers.name=sums: adds statistics; needs distill=analytic, not {distill.name}"
        )


def check_live_peers(peers: Any) -> None:
    """Raise ConfigError where peers are chosen by what only an experiment knows."""
    if isinstance(peers, (Oracle, Central)):
        raise ConfigError(f"peers.name={peers.name}: knows more than a node can")


OPTIONS: dict[str, type] = {
    "semantic": Semantic,
    "random": RandomPeers,
    "dissimilar": Dissimilar,
    "all": AllPeers,
    "oracle": Oracle,
    "central": Central,
    "sums": Sums,
    "none": NoPeers,
}
