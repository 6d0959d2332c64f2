"""A plan: all that nodes need to run, typed, with nothing left to look up."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qsynth.data import DataSet
from qsynth.encoder import Encoder
from qsynth.errors import ConfigError
from qsynth.growth.base import Growth
from qsynth.growth.none import NoGrowth
from qsynth.partition import Share
from qsynth.pipeline.publication import Rules, Samples
from qsynth.training.config import Trainer
from qsynth.training.features import Backbone, FeaturedData
from qsynth.types import Floats32


@dataclass(frozen=True)
class NodePlan:
    """One node: its name, its place in the fleet, its model, its data, its seed.

    silent: whether it publishes nothing (a liar that is held back, for comparison).
    begins: the period of the others in which a newcomer begins; None: it is there from the start.
    attack: what it does to the others; None: it is honest.  group: of the fleet, that it is of.
    """

    name: str
    index: int
    model: Any
    share: Share
    seed: int
    silent: bool = False
    begins: int | None = None
    attack: Any = None
    group: str = ""

    @property
    def later(self) -> NodePlan | None:
        """Return the node as it is after it has drifted, or None where it does not."""
        if self.share.later is None:
            return None
        return replace(self, share=self.share.later)

    @property
    def final(self) -> NodePlan:
        """Return the node as it is in the end."""
        return self.later or self

    @property
    def architecture(self) -> str:
        """Return a name that tells this architecture from others in the fleet."""
        values = asdict(self.model)
        shape = [f"{key}{values[key]}" for key in ("width", "depth") if key in values]
        return "-".join([self.model.kind, *shape])


@dataclass(frozen=True)
class RunPlan:
    """A whole run.

    folder: of the run; each node writes below `nodes/<name>`.  reference: the public set.
    notes: what its user should know before it starts.  home: of a node on a host of its own; None:
    nodes have folders in that of the run.  publish: whether packets leave.
    """

    name: str
    seed: int
    folder: Path
    data: DataSet
    batch_size: int
    encoder: Encoder
    encoder_config: Any
    rules: Rules
    trainer: Trainer
    peers: Any
    trust: Any
    dht: Any
    mesh: Any
    placement: Any
    nodes: tuple[NodePlan, ...]
    drift_period: int | None = None
    growth: Growth = NoGrowth()
    reference: Floats32 | None = None
    notes: tuple[str, ...] = ()
    home: Path | None = None
    publish: str = "auto"

    def shared(self, share: int) -> NodePlan:
        """Return the node that has a share of the data.  Raises ConfigError where there is none."""
        if share >= len(self.nodes):
            raise ConfigError(f"--share={share}: the fleet has {len(self.nodes)} shares, from 0")
        return self.nodes[share]

    @property
    def backbone(self) -> Backbone | None:
        """Return what makes the inputs of networks, where they are features; else None."""
        return self.data.backbone if isinstance(self.data, FeaturedData) else None

    def node_folder(self, node: NodePlan) -> Path:
        """Return where a node writes."""
        return self.folder / "nodes" / node.name

    def changes(self, node: NodePlan) -> bool:
        """Return whether a node's training samples change while it runs."""
        return node.share.later is not None or len(node.share.ends) > 1

    def stage(self, node: NodePlan, period: int) -> int:
        """Return a number that is another one in a period with other training samples; 0 first."""
        if self.drift_period is not None and node.share.later is not None:
            return int(period >= self.drift_period)
        return max(self.growth.batches(period, len(node.share.ends)) - 1, 0)

    def at(self, node: NodePlan, period: int) -> NodePlan:
        """Return a node as it is in a period: with the samples that it has by then."""
        share, stage = node.share, self.stage(node, period)
        if share.later is not None:
            return node.final if stage else node
        if len(share.ends) < 2:
            return node
        ends = share.ends[: stage + 1]
        return replace(node, share=replace(share, train=share.train[: ends[-1]], ends=ends))

    def samples(self, node: NodePlan) -> Samples:
        """Return a node's own samples, as it sees them; of one that changes, see `at`."""
        share, data = node.share, self.data
        further = data.train_x if data.further_x is None else data.further_x
        return Samples(
            share.inputs(data.train_x[share.train]),
            share.labels(data.train_y[share.train]),
            share.inputs(data.train_x[share.validation]),
            share.labels(data.train_y[share.validation]),
            share.inputs(further[share.unlabelled]) if len(share.unlabelled) else None,
            self.reference,
            share.ends,
        )
