"""The options of the group `attack`: what a share of the nodes does to the others."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.schema import option, setting


@option("attack")
@dataclass(frozen=True)
class Attack:
    """What every attack has.  Only honest nodes are measured."""

    share: float = setting(0.2, "of the nodes that attack, drawn by the seed", low=0.0, high=0.9)


@option("attack")
@dataclass(frozen=True)
class NoAttack:
    """Every node is honest."""

    name: str = setting("none", "the option's name", choices=("none",))
    share: float = setting(0.0, "of the nodes that attack", low=0.0, high=0.0)


@option("attack")
@dataclass(frozen=True)
class LabelFlip(Attack):
    """Publish one's own statistics under the next label."""

    name: str = setting("label_flip", "the option's name", choices=("label_flip",))


@option("attack")
@dataclass(frozen=True)
class Noise(Attack):
    """Publish class means that are noise of the usual size."""

    name: str = setting("noise", "the option's name", choices=("noise",))


@option("attack")
@dataclass(frozen=True)
class InflatedSupport(Attack):
    """Publish flipped labels and claim many times the samples."""

    name: str = setting("inflated_support", "the option's name", choices=("inflated_support",))
    factor: int = setting(100, "times the true samples that are claimed", low=1, high=10000)


@option("attack")
@dataclass(frozen=True)
class Sybil(Attack):
    """Publish one and the same flipped packet under the identity of every attacker."""

    name: str = setting("sybil", "the option's name", choices=("sybil",))


@option("attack")
@dataclass(frozen=True)
class SybilAround(Attack):
    """Publish packets with a victim's fingerprint and flipped labels in all that it leaves open.

    Adaptive and targeted: every attacker becomes the victim's nearest neighbour.
    """

    name: str = setting("sybil_around", "the option's name", choices=("sybil_around",))


@option("attack")
@dataclass(frozen=True)
class Replay(Attack):
    """Publish a victim's own statistics as one's own."""

    name: str = setting("replay", "the option's name", choices=("replay",))


@option("attack")
@dataclass(frozen=True)
class ForgedFingerprint(Attack):
    """Announce a victim's fingerprint beside a packet of flipped labels."""

    name: str = setting("forged_fingerprint", "the option's name", choices=("forged_fingerprint",))


@option("attack")
@dataclass(frozen=True)
class FreeRider(Attack):
    """Publish nothing; without a fingerprint of its own it finds nobody either."""

    name: str = setting("free_rider", "the option's name", choices=("free_rider",))


@option("attack")
@dataclass(frozen=True)
class Turncoat(Attack):
    """Be honest at first, then publish flipped labels."""

    name: str = setting("turncoat", "the option's name", choices=("turncoat",))
    period: int = setting(5, "the first in which it lies", low=1)


@option("attack")
@dataclass(frozen=True)
class PartialLie(Attack):
    """Be honest about the classes that a victim has, and lie about the others."""

    name: str = setting("partial_lie", "the option's name", choices=("partial_lie",))


@option("attack")
@dataclass(frozen=True)
class EmptyScatter(Attack):
    """Publish flipped labels in all that the fingerprint leaves open, and no scatter.

    Receivers fill it in from their own samples.
    """

    name: str = setting("empty_scatter", "the option's name", choices=("empty_scatter",))


@option("attack")
@dataclass(frozen=True)
class CopiedScatter(Attack):
    """Publish flipped labels in all that the fingerprint leaves open, and a victim's scatter."""

    name: str = setting("copied_scatter", "the option's name", choices=("copied_scatter",))


@option("attack")
@dataclass(frozen=True)
class Adaptive(Attack):
    """Publish the lie that does most harm of those that a victim's own gate would let in.

    Adaptive and targeted: it is rehearsed on what the victim has published.
    """

    name: str = setting("adaptive", "the option's name", choices=("adaptive",))


@option("attack")
@dataclass(frozen=True)
class FakeAuthors(Attack):
    """Tell of authors that are gone and never were, ever new ones, and give packets that lie.

    And publish flipped labels.
    """

    name: str = setting("fake_authors", "the option's name", choices=("fake_authors",))
    authors: int = setting(40, "told of in an answer", low=1, high=64)


@option("attack")
@dataclass(frozen=True)
class Eclipse(Attack):
    """Answer lookups with made-up nodes that are exactly what is asked for.

    And publish flipped labels.
    """

    name: str = setting("eclipse", "the option's name", choices=("eclipse",))


OPTIONS: dict[str, type] = {
    "none": NoAttack,
    "label_flip": LabelFlip,
    "noise": Noise,
    "inflated_support": InflatedSupport,
    "sybil": Sybil,
    "sybil_around": SybilAround,
    "replay": Replay,
    "forged_fingerprint": ForgedFingerprint,
    "free_rider": FreeRider,
    "turncoat": Turncoat,
    "partial_lie": PartialLie,
    "empty_scatter": EmptyScatter,
    "copied_scatter": CopiedScatter,
    "adaptive": Adaptive,
    "fake_authors": FakeAuthors,
    "eclipse": Eclipse,
}
