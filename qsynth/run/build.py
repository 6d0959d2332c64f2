"""Build: a typed config becomes nodes with their data, models and seeds."""

from __future__ import annotations

import inspect
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from qsynth.data import DataSet, load_data
from qsynth.distill import check_size, dimensions
from qsynth.encoder import make_encoder
from qsynth.errors import ConfigError, nearest_spelling
from qsynth.mesh.config import Memory, Shared
from qsynth.model import check_network, make_network
from qsynth.node.study import Rules
from qsynth.partition import deal
from qsynth.placement.plan import NodePlan, Plan
from qsynth.run.config import RunConfig

# Arguments of Lightning's Trainer that other settings or qsynth itself decide.
OURS = {"self", "args", "kwargs", "max_steps", "max_epochs", "gradient_clip_val", "callbacks",
        "accelerator", "devices", "logger", "enable_checkpointing", "enable_progress_bar",
        "enable_model_summary"}  # fmt: skip
MIN_TRAINING = 4  # samples of a node: two folds of two


def build(config: RunConfig, folder: Path, data: DataSet | None = None) -> Plan:
    """Return the plan of a run.  Raises ConfigError or DataError where it cannot be.

    data: of `config.data`, where it has been loaded before.
    """
    _check_trainer(config)
    if data is None:
        data = load_data(config.data, config.task)
    encoder = make_encoder(config.encoder, data.task)
    nodes = _nodes(config, data)
    _check_packets(config, data, encoder.dimensions, nodes)
    return Plan(
        name=config.name,
        seed=config.seed,
        folder=folder,
        data=data,
        batch_size=config.data.batch_size,
        encoder=encoder,
        encoder_config=config.encoder,
        rules=Rules(config.distill, config.similarity, config.synthesis),
        trainer=config.trainer,
        peers=config.peers,
        trust=config.trust,
        dht=config.dht,
        mesh=_mesh(config),
        placement=config.placement,
        nodes=nodes,
        drift_period=getattr(config.partition, "drift_period", None),
    )


def _check_trainer(config: RunConfig) -> None:
    known = set(inspect.signature(pl.Trainer.__init__).parameters) - OURS
    for name in config.trainer.arguments:
        if name not in known:
            raise ConfigError(
                f"trainer.arguments.{name}: not an argument of Lightning's Trainer that is free"
                f"{nearest_spelling(name, known)}"
            )


def _mesh(config: RunConfig) -> Any:
    if config.placement.name != "simulate" or isinstance(config.mesh, Memory):
        return config.mesh
    # Simulated nodes have no sockets: keep what all transports share.
    return Memory(**{f.name: getattr(config.mesh, f.name) for f in fields(Shared)})


def _nodes(config: RunConfig, data: DataSet) -> tuple[NodePlan, ...]:
    named = [
        (f"{group}-{number}", entry.model)
        for group, entry in config.fleet.items()
        for number in range(entry.count)
    ]
    shares = deal(
        config.partition,
        data.train_y,
        data.task.classes,
        len(named),
        config.seed,
        data.train_node,
        data.task.shape,
    )
    _check_networks(config, data)
    nodes = []
    for index, ((name, model), share) in enumerate(zip(named, shares, strict=True)):
        if len(share.train) < MIN_TRAINING:
            raise ConfigError(
                f"partition: {name} gets {len(share.train)} training samples, "
                f"needs {MIN_TRAINING}; fewer nodes, or more partition.samples_per_node"
            )
        sites = data.test_node if share.site is not None else None
        if sites is not None and share.site not in sites:
            raise ConfigError(
                f"data.test_share: site {share.site} has no test sample; raise test_share, "
                "or give x_test, y_test and node_test"
            )
        seed = int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0])
        silent = not (share.honest or config.partition.liars_publish)
        nodes.append(NodePlan(name, index, model, share, seed, silent))
    return tuple(nodes)


def _check_networks(config: RunConfig, data: DataSet) -> None:
    for group, entry in config.fleet.items():
        if entry.count:
            network = make_network(entry.model, data.task, f"fleet.{group}.model")
            check_network(network, data.task, f"fleet.{group}.model")


def _check_packets(
    config: RunConfig, data: DataSet, encoder_dimensions: int, nodes: tuple[NodePlan, ...]
) -> None:
    largest = max(len(node.share.train) for node in nodes)
    size, classes = math.prod(data.task.shape), data.task.classes
    d = dimensions(config.distill, largest, encoder_dimensions, classes, size)
    check_size(config.distill, d, classes, size)
