"""The options of the group `partition`."""

from __future__ import annotations

from dataclasses import dataclass

from qsynth.errors import ConfigError
from qsynth.schema import option, setting


@option("partition")
@dataclass(frozen=True)
class Shares:
    """What every partition has."""

    seed: int | None = setting(None, "of the dealing; null: the run's seed", low=0)
    samples_per_node: int | None = setting(None, "dealt to each node; null: all there are", low=4)
    validation_share: float = setting(0.2, "of a node's samples", low=0.0, high=0.8)
    audit_share: float = setting(0.0, "of a node's samples, for the audit alone", low=0.0, high=0.8)
    unlabelled_per_node: int = setting(
        0, "further samples of each node whose labels nobody looks at", low=0
    )
    liar_share: float = setting(
        0.0,
        "of the nodes name every label by the next one; only honest nodes are measured",
        low=0.0,
        high=0.9,
    )
    liars_publish: bool = setting(True, "whether those nodes send packets")

    def check(self) -> None:
        """Raise ConfigError where too little is left to train on."""
        if self.validation_share + self.audit_share > 0.9:
            raise ConfigError("partition.validation_share + partition.audit_share: must be <= 0.9")


@option("partition")
@dataclass(frozen=True)
class Late(Shares):
    """What partitions have where some nodes can come late."""

    newcomer_share: float = setting(
        0.0, "of the nodes come late, with few samples", low=0.0, high=0.9
    )
    newcomer_samples: int = setting(40, "dealt to each newcomer", low=4)
    newcomer_period: int = setting(3, "in which newcomers begin, of the others' periods", low=0)


@option("partition")
@dataclass(frozen=True)
class Even(Late):
    """What partitions have that deal every node the same share of each class."""

    label_shares: tuple[float, ...] = setting(
        [], "of each class in every node's samples, adding up to 1; empty: even", low=0.0, high=1.0
    )


@option("partition")
@dataclass(frozen=True)
class Iid(Even):
    """Deal every class evenly to all nodes."""

    name: str = setting("iid", "the option's name", choices=("iid",))


@option("partition")
@dataclass(frozen=True)
class Dirichlet(Shares):
    """Deal each class in shares drawn from a Dirichlet distribution (Hsu 2019)."""

    name: str = setting("dirichlet", "the option's name", choices=("dirichlet",))
    alpha: float = setting(0.3, "concentration: smaller is more skewed", low=1e-3)
    min_samples: int = setting(10, "a node has at least", low=1)
    one_group: bool = setting(
        False, "call the whole fleet one true group: measure it on uniform labels too"
    )


@option("partition")
@dataclass(frozen=True)
class Grouped(Even):
    """What every partition with true groups has."""

    label_alpha: float | None = setting(
        None, "Dirichlet concentration of each node's labels; null: even", low=1e-3
    )
    drift_period: int | None = setting(
        None, "from which some nodes are in the next group, with new samples; null: never", low=1
    )
    drift_share: float = setting(0.5, "of the nodes that drift", low=0.0, high=1.0)
    group_sizes: tuple[int, ...] = setting([], "nodes of each group; empty: in turn", low=0)


@option("partition")
@dataclass(frozen=True)
class LabelGroups(Grouped):
    """Give each group of nodes its own subset of the labels."""

    name: str = setting("label_groups", "the option's name", choices=("label_groups",))
    groups: int = setting(4, "true groups", low=1)
    labels_per_group: int = setting(5, "labels that a group has", low=2)


@option("partition")
@dataclass(frozen=True)
class Rotations(Grouped):
    """Turn the images of each group by another quarter; labels are dealt evenly."""

    name: str = setting("rotations", "the option's name", choices=("rotations",))
    groups: int = setting(4, "true groups, one a quarter turn", low=1, high=4)


@option("partition")
@dataclass(frozen=True)
class LabelSwap(Grouped):
    """Give each group another meaning of the labels: concept shift."""

    name: str = setting("label_swap", "the option's name", choices=("label_swap",))
    groups: int = setting(4, "true groups, each with its own permutation", low=1)
    swapped: int = setting(4, "labels that a group permutes", low=2)


@option("partition")
@dataclass(frozen=True)
class Natural(Late):
    """Deal by the data's own `node` array: one node a site."""

    name: str = setting("natural", "the option's name", choices=("natural",))


OPTIONS: dict[str, type] = {
    "iid": Iid,
    "dirichlet": Dirichlet,
    "label_groups": LabelGroups,
    "rotations": Rotations,
    "label_swap": LabelSwap,
    "natural": Natural,
}
