"""The schema of a run: check a composed mapping strictly and make it typed.

A mistake is found before torch or numba is imported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from qsynth.attack.options import OPTIONS as ATTACK
from qsynth.config.run import BASELINES, NodeGroup, RunConfig
from qsynth.data.options import OPTIONS as DATA
from qsynth.data.task import TASK_OPTIONS as TASK
from qsynth.dht.config import OPTIONS as DHT
from qsynth.distill.options import OPTIONS as DISTILL
from qsynth.encoder.config import FEATURES
from qsynth.encoder.options import OPTIONS as ENCODER
from qsynth.errors import ConfigError
from qsynth.growth.options import OPTIONS as GROWTH
from qsynth.mesh.options import OPTIONS as MESH
from qsynth.model.options import OPTIONS as MODEL
from qsynth.partition.options import OPTIONS as PARTITION
from qsynth.peers.base import informed
from qsynth.peers.options import OPTIONS as PEERS
from qsynth.pipeline.checks import check_node, rule_of_distillation
from qsynth.placement.config import OPTIONS as PLACEMENT
from qsynth.privacy.options import OPTIONS as PRIVACY
from qsynth.registry import with_packages
from qsynth.schema import build, choose, name_of, unknown
from qsynth.similarity.options import OPTIONS as SIMILARITY
from qsynth.synthesis.options import OPTIONS as SYNTHESIS
from qsynth.training.config import OPTIONS as TRAINER
from qsynth.trust.config import OPTIONS as TRUST

OURS: dict[str, Mapping[str, type]] = {
    "task": TASK,
    "data": DATA,
    "partition": PARTITION,
    "growth": GROWTH,
    "encoder": ENCODER,
    "model": MODEL,
    "trainer": TRAINER,
    "distill": DISTILL,
    "similarity": SIMILARITY,
    "peers": PEERS,
    "synthesis": SYNTHESIS,
    "privacy": PRIVACY,
    "trust": TRUST,
    "attack": ATTACK,
    "dht": DHT,
    "mesh": MESH,
    "placement": PLACEMENT,
}
GROUPS = with_packages(OURS)


NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def validate(values: Mapping[str, Any]) -> RunConfig:
    """Return the typed config.  Raises ConfigError: key, value, rule, nearest right spelling."""
    config = build(RunConfig, values, "")
    groups: dict[str, Any] = {
        group: choose(options, values.get(group), group) for group, options in GROUPS.items()
    }
    if not config.name:
        config = replace(config, name=plain_name(groups["data"].own_name()))
    if not NAME.match(config.name):
        raise ConfigError(
            f"name={config.name}: must be letters, digits, . _ and -: it names a folder"
        )
    config = replace(config, **groups, fleet=_fleet(values.get("fleet"), groups["model"]))
    for baseline in config.baselines:
        if baseline not in BASELINES:
            raise unknown("baselines", baseline, "no such arm", baseline, BASELINES)
    _check_together(config)
    return replace(config, distill=rule_of_distillation(config.distill, config.synthesis))


def plain_name(said: str) -> str:
    """Return a name of a folder for whatever data are called."""
    made = re.sub(r"[^A-Za-z0-9._-]+", "_", said).strip("._-")[:64]
    return made or "unnamed"


def _fleet(values: Any, default_model: Any) -> dict[str, NodeGroup]:
    if not isinstance(values, Mapping) or not values:
        raise ConfigError("fleet={}: needs a node group, e.g. +fleet.small.count=8")
    fleet = {}
    for name, entry in values.items():
        path = f"fleet.{name}"
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{path}={entry}: must be a mapping with count and model")
        if not str(name).isidentifier():
            raise ConfigError(f"{path}: a group's name must be a word")
        group = build(NodeGroup, entry, path)
        model = default_model
        if group.model is not None:
            model = choose(GROUPS["model"], entry["model"], f"{path}.model")
        fleet[str(name)] = replace(group, model=model)
    open_ended = [name for name, group in fleet.items() if group.count is None]
    if len(open_ended) > 1:
        raise ConfigError(
            f"fleet.{open_ended[1]}.count=null: fleet.{open_ended[0]} already has as many nodes as "
            "there are sites; say a number"
        )
    if not open_ended and sum(group.count or 0 for group in fleet.values()) < 1:
        raise ConfigError("fleet: needs at least one node in all")
    return fleet


def _check_together(config: RunConfig) -> None:
    """Check what no single key can tell."""
    further = config.data.further()
    check_node(
        config.distill,
        config.similarity,
        config.synthesis,
        config.peers,
        config.dht,
        config.mesh,
        bool(further or config.partition.unlabelled_per_node),
        FEATURES if config.data.features else config.encoder,
        config.privacy,
    )
    if further and config.partition.unlabelled_per_node:
        raise ConfigError(
            f"partition.unlabelled_per_node={config.partition.unlabelled_per_node}: "
            "must be 0 beside data.unlabelled"
        )
    _check_features(config)
    if not config.placement.simulated and not config.mesh.sockets:
        raise ConfigError(
            f"mesh.name={config.mesh.name}: processes need sockets; use mesh=ipc or "
            "placement=simulate"
        )
    if config.placement.machines and not config.mesh.machines:
        raise ConfigError(
            f"mesh.name={config.mesh.name}: placement={config.placement.name} may put nodes on "
            "several machines; use mesh=tcp"
        )
    drift, steps = config.partition.drift(), config.trainer
    periods = steps.periods
    if drift is not None and drift >= periods:
        raise ConfigError(
            f"partition.drift_period={drift}: must be < {periods}, the periods of the run"
        )
    _check_growth(config)
    if informed(config.peers) is not None and not config.placement.simulated:
        raise ConfigError(
            f"peers.name={config.peers.name}: an experiment that knows more than a node can; "
            "needs placement=simulate"
        )
    config.model.check_at("model")
    for name, group in config.fleet.items():
        group.model.check_at(f"fleet.{name}.model")


def _check_growth(config: RunConfig) -> None:
    """Raise ConfigError where something else does not go with records that come later."""
    growth = name_of(config.growth)
    if growth == "none":
        return
    drift = config.partition.drift()
    if drift is not None:
        raise ConfigError(f"growth={growth}: does not go with partition.drift_period={drift}")
    if config.distill.follows_network:
        raise ConfigError(
            f"growth={growth}: distill={name_of(config.distill)} tells of a network that trains on "
            "new rows one by one; use distill=analytic"
        )
    if config.privacy.pooled:
        raise ConfigError(
            f"growth={growth}: privacy={name_of(config.privacy)} adds a node's records to one sum; "
            "use privacy=dp, whose privacy.updates counts batches"
        )


def _check_features(config: RunConfig) -> None:
    """Raise ConfigError where networks take features, and something else needs the inputs."""
    if not config.data.features:
        return
    if config.partition.turns:
        raise ConfigError(
            f"data.features=true: partition.name={config.partition.name} turns images, and nodes "
            "have their features"
        )
    if config.task.invariances:
        raise ConfigError(
            f"data.features=true: task.invariances={list(config.task.invariances)} change images, "
            "and nodes have their features"
        )
