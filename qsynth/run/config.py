"""The typed config of a run: what is left of the YAML after composing and checking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qsynth.schema import setting

BASELINES = ("local", "alone")


@dataclass(frozen=True)
class NodeGroup:
    """Nodes of one kind in the fleet."""

    count: int = setting(1, "nodes of this group", low=0, high=4096)
    model: Any = setting(None, "the group's own model; null: the run's `model`")


@dataclass(frozen=True)
class RunConfig:
    """All groups of a run, each a frozen dataclass of its package's `config.py`."""

    name: str = setting("run", "part of the run folder's name")
    recipe: str | None = setting(None, "the recipe that was composed")
    seed: int = setting(0, "of data, models and simulated identities", low=0, high=2**31 - 1)
    folder: str = setting("runs", "where run folders are made")
    baselines: tuple[str, ...] = setting([*BASELINES], "arms to compare with; [] for none")
    task: Any = setting(None, "what is learned")
    data: Any = setting(None, "where samples come from")
    partition: Any = setting(None, "how samples are dealt")
    encoder: Any = setting(None, "the shared functional space")
    model: Any = setting(None, "of node groups that name none")
    trainer: Any = setting(None, "Lightning's Trainer")
    distill: Any = setting(None, "snapshot to packet")
    similarity: Any = setting(None, "fingerprints")
    peers: Any = setting(None, "whom a node learns from")
    synthesis: Any = setting(None, "packets to predictor and teaching")
    trust: Any = setting(None, "admission of packets")
    dht: Any = setting(None, "routing")
    mesh: Any = setting(None, "transport and requests")
    placement: Any = setting(None, "where nodes run")
    fleet: Any = setting(None, "named node groups")
