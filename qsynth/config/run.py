"""The typed config of a run: what is left of the YAML after composing and checking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsynth.errors import ConfigError
from qsynth.schema import name_of, option, setting, unknown
from qsynth.training.config import MOST_SEED

BASELINES = ("local", "alone", "linear")


@dataclass(frozen=True)
class Arm:
    """One arm of a comparison.

    kind: lone (no mesh), mesh, or weights (a rival that exchanges weights).  doc: what it shows.
    """

    kind: str
    doc: str


UNGATED = "_ungated"  # the ending of a mesh arm's name that takes the synthesis gate away
ARMS: dict[str, Arm] = {
    "local": Arm("lone", "the plain network on its own data"),
    "alone": Arm("lone", "the same pipeline with no peers"),
    "linear": Arm("lone", "a linear model on the node's own inputs"),
    "best_alone": Arm("lone", "the best setting of that pipeline with no peers"),
    "semantic": Arm("mesh", "the recipe as it is"),
    "semantic_untaught": Arm("mesh", "the recipe with networks that nothing teaches"),
    "head": Arm("mesh", "the recipe's merged head, without a network"),
    "silent": Arm("mesh", "the recipe with its lying nodes silent"),
    "random": Arm("mesh", "k peers drawn at random"),
    "dissimilar": Arm("mesh", "the k least alike"),
    "all": Arm("mesh", "every other node; ungated, with the analytic head, this is AFL"),
    "oracle": Arm("mesh", "k of the node's true group"),
    "central": Arm("mesh", "the k most alike by an index that knows all fingerprints"),
    "pooled": Arm("lone", "the data of the node's true group in one place"),
    "fedavg": Arm("weights", "FedAvg of all networks"),
    "fedavg_oracle": Arm("weights", "FedAvg within true groups"),
    "fedavg_finetuned": Arm("weights", "FedAvg of all, then own steps alone"),
    "fedavg_head": Arm("weights", "FedAvg of a linear head on the same encoder"),
    "fedavg_head_oracle": Arm("weights", "the same within true groups"),
    "gossip": Arm("weights", "D-PSGD on a random regular graph"),
    "pens": Arm("weights", "PENS: gossip with whose models fit one's own data"),
    "sqmd": Arm("weights", "SQMD: answers of good and similar networks to a public set"),
    "fedproto": Arm("weights", "FedProto: class means of embeddings, averaged"),
}
DEFAULT_ARMS = (
    "local",
    "alone",
    "linear",
    "best_alone",
    "semantic",
    "head",
    "random",
    "oracle",
    "pooled",
)


def find_arm(name: str) -> Arm:
    """Return the arm of this name.  Raises ConfigError."""
    arm = ARMS.get(name.removesuffix(UNGATED))
    if arm is None or (name.endswith(UNGATED) and arm.kind != "mesh"):
        raise unknown("arms", name, "no such arm", name, ARMS)
    return arm


def check_arm(config: RunConfig, name: str) -> None:
    """Raise ConfigError for an arm that is none, or that this partition cannot have."""
    kind, partition = find_arm(name).kind, config.partition
    if "oracle" in name and not partition.has_groups():
        raise ConfigError(
            f"arms={name}: needs true groups, partition={partition.name} deals without them"
        )
    if name == "linear" and config.data.is_text():
        raise ConfigError("arms=linear: needs numbers that can be added up, the data are tokens")
    if name.endswith(UNGATED) and not hasattr(config.synthesis, "gate"):
        raise ConfigError(
            f"arms={name}: synthesis={config.synthesis.name} has no gate to leave out"
        )
    drifts = partition.drift() is not None
    if kind == "weights" and name_of(config.growth) != "none":
        raise ConfigError(f"arms={name}: does not follow growth; set growth=none")
    if drifts and (kind == "weights" or name.startswith(("oracle", "central"))):
        raise ConfigError(f"arms={name}: does not follow drift; set partition.drift_period=null")


def default_arms(config: RunConfig) -> list[str]:
    """Return the arms of a comparison that names none: those that the partition can have."""
    arms = []
    for name in DEFAULT_ARMS:
        try:
            check_arm(config, name)
        except ConfigError:
            continue
        arms.append(name)
    return arms


@option("fleet")
@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one kind in the fleet."""

    count: int | None = setting(
        1, "nodes of this group; null: as many as the data have sites", low=0, high=4096
    )
    model: Any = setting(None, "the group's own model; null: the run's `model`")


@option("")
@dataclass(frozen=True)
class RunConfig:
    """All groups of a run, each a frozen dataclass of its package's `config.py`."""

    name: str = setting("", "part of the run folder's name; empty: the data's name")
    recipe: str | None = setting(None, "the recipe that was composed")
    seed: int = setting(0, "of data, models and simulated identities", low=0, high=MOST_SEED)
    folder: str = setting("runs", "where run folders are made")
    baselines: tuple[str, ...] = setting([*BASELINES], "arms to compare with; [] for none")
    publish: str = setting(
        "auto",
        "whether packets leave: at once, once approved (`qsynth packet approve`), or "
        "never: learn from others alone",
        choices=("auto", "ask", "never"),
    )
    task: Any = setting(None, "what is learned")
    data: Any = setting(None, "where samples come from")
    partition: Any = setting(None, "how samples are dealt")
    growth: Any = setting(None, "whether samples come in batches")
    encoder: Any = setting(None, "the shared functional space")
    model: Any = setting(None, "of node groups that name none")
    trainer: Any = setting(None, "Lightning's Trainer")
    distill: Any = setting(None, "snapshot to packet")
    similarity: Any = setting(None, "fingerprints")
    peers: Any = setting(None, "whom a node learns from")
    synthesis: Any = setting(None, "packets to predictor and teaching")
    trust: Any = setting(None, "admission of packets")
    privacy: Any = setting(None, "what a packet tells of one record")
    attack: Any = setting(None, "what a share of the nodes does to the others")
    dht: Any = setting(None, "routing")
    mesh: Any = setting(None, "transport and requests")
    placement: Any = setting(None, "where nodes run")
    fleet: Any = setting(None, "named node groups")

    @property
    def nodes(self) -> int:
        """Return how many nodes there are, but for those that the data's sites are counted for."""
        return sum(group.count or 0 for group in self.fleet.values())
