"""Build: a typed config becomes nodes with their data, models and seeds."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.accelerators import Accelerator, CUDAAccelerator, MPSAccelerator

from qsynth.config.groups import plain_name
from qsynth.config.run import RunConfig
from qsynth.data import DataSet, load_data
from qsynth.data.samples import check_range, check_shape, inputs_of
from qsynth.distill.reference_logits import ReferenceLogits
from qsynth.encoder import Encoder, make_encoder
from qsynth.encoder.config import FEATURES
from qsynth.errors import ConfigError, DataError, nearest_spelling
from qsynth.growth.base import Growth
from qsynth.mesh.address import is_loopback
from qsynth.mesh.memory import Memory
from qsynth.mesh.transport import MeshOptions
from qsynth.model import check_network, make_network
from qsynth.partition import Partition, Share, assign_samples, assign_unlabelled, held_by_nobody
from qsynth.pipeline.publication import MIN_TRAINING, Rules
from qsynth.pipeline.target_pipeline import check_packet, check_task
from qsynth.placement.config import Processes, Simulate
from qsynth.schema import name_of
from qsynth.simulation.batched import learner_notes
from qsynth.synthesis import HeadRule
from qsynth.training.features import Backbone, FeaturedData, make_rows, on_features
from qsynth.training.fit import check_arguments
from qsynth.training.loggers import check_logger
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import Floats32

# Arguments of Lightning's Trainer that other settings or qsynth itself decide.
OURS = {
    "self",
    "args",
    "kwargs",
    "max_steps",
    "max_epochs",
    "gradient_clip_val",
    "callbacks",
    "accelerator",
    "devices",
    "logger",
    "enable_checkpointing",
    "enable_progress_bar",
    "enable_model_summary",
    "num_nodes",
    "strategy",
    "fast_dev_run",
    "barebones",
    "overfit_batches",
    "use_distributed_sampler",
    "sync_batchnorm",
}
ACCELERATORS: dict[str, tuple[type[Accelerator], ...]] = {
    "gpu": (CUDAAccelerator, MPSAccelerator),
    "cuda": (CUDAAccelerator,),
    "mps": (MPSAccelerator,),
}
INSTEAD = {
    "max_steps": "max_steps",
    "gradient_clip_val": "gradient_clip_norm",
    "logger": "logger",
    "accelerator": "accelerator",
}
LEAST_AUDITED = 200  # samples of a do-no-harm certificate


def build(
    config: RunConfig, folder: Path, data: DataSet | None = None, whole: bool = True
) -> RunPlan:
    """Return the plan of a run.  Raises ConfigError or DataError where it cannot be.

    data: of `config.data`, where it has been loaded before.  whole: whether all nodes are to run
    here: their features are then made at once.
    """
    _check_trainer(config)
    if whole:
        config.growth.check_run()
    if data is None:
        data = load_data(config.data, config.task)
    data = _as_trained(config, data)
    options = FEATURES if isinstance(data, FeaturedData) else config.encoder
    encoder = make_encoder(options, data.task)
    frozen = _checked_networks(config, data)
    nodes = _nodes(config, data)
    if whole and isinstance(data, FeaturedData):
        make_rows(data, [node.share for node in nodes])
    reference = None
    if config.distill.public_set:
        reference = public_set(config.distill, data, nodes, config.seed)
    for node in nodes:  # a tag that names what is not known ends the run before it begins
        share = node.share
        config.privacy.situated(group=share.group, site=share.site, node=node.name)
    notes = _check_packets(config, data, encoder, nodes, reference)
    plan = RunPlan(
        name=config.name,
        seed=config.seed,
        folder=folder,
        data=data,
        batch_size=config.data.batch_size,
        encoder=encoder,
        encoder_config=options,
        rules=rules_of(config),
        trainer=config.trainer,
        peers=config.peers,
        trust=config.trust,
        dht=config.dht,
        mesh=_mesh(config),
        placement=config.placement,
        nodes=nodes,
        drift_period=config.partition.drift(),
        growth=config.growth,
        reference=reference,
        notes=(*data.notes, *notes, *frozen, *config.privacy.said(), *_audit_notes(config, nodes)),
        publish=config.publish,
    )
    return replace(plan, notes=(*plan.notes, *learner_notes(plan), *_host_notes(config)))


def rules_of(config: RunConfig) -> Rules:
    """Return the rules of every node of a run."""
    return Rules(config.distill, config.similarity, config.synthesis, config.privacy)


def _as_trained(config: RunConfig, data: DataSet) -> DataSet:
    """Return what networks train on: the data, or features of them."""
    if not config.data.features or isinstance(data, FeaturedData):
        return data
    encoder = make_encoder(config.encoder, data.task)
    return on_features(data, Backbone(encoder, config.encoder, data.task))


def _host_notes(config: RunConfig) -> list[str]:
    host = getattr(config.mesh, "host", "")
    if not config.placement.machines or not is_loopback(host):
        return []
    return [
        f"mesh.host={host}: reached from the same machine alone; where there are several, set "
        "mesh.host=auto mesh.insecure=true"
    ]


def _audit_notes(config: RunConfig, nodes: Sequence[NodePlan]) -> list[str]:
    most = max((len(node.share.audit) for node in nodes), default=0)
    if not config.partition.audit_share or most >= LEAST_AUDITED:
        return []
    return [
        f"audit samples: {most} a node at most; below {LEAST_AUDITED} a certificate cannot "
        "exclude harm"
    ]


def _check_trainer(config: RunConfig) -> None:
    check_logger(config.trainer.logger)
    _check_accelerator(config.trainer.accelerator, config.placement)
    known = set(inspect.signature(pl.Trainer.__init__).parameters) - OURS
    for name, value in config.trainer.arguments.items():
        if name in INSTEAD:
            raise ConfigError(f"trainer.arguments.{name}={value}: use trainer.{INSTEAD[name]}")
        if name in OURS:
            raise ConfigError(f"trainer.arguments.{name}={value}: qsynth sets it itself")
        if name not in known:
            raise ConfigError(
                f"trainer.arguments.{name}={value}: not an argument of Lightning's Trainer"
                f"{nearest_spelling(name, known)}"
            )
    if config.trainer.arguments:
        check_arguments(config.trainer.arguments)


def _check_accelerator(name: str, placement: Any) -> None:
    if name == "cpu":
        return
    if isinstance(placement, Simulate):
        raise ConfigError(
            f"trainer.accelerator={name}: placement=simulate promises the same bits, and needs cpu "
            "for them; use placement=processes"
        )
    if getattr(placement, "start", "") == "fork":
        raise ConfigError(
            f"placement.start=fork: what trainer.accelerator={name} uses may not survive a fork; "
            "use auto or spawn"
        )
    # Where a cluster runs its tasks is not known here.
    here = isinstance(placement, Processes) and name != "auto"
    if here and not any(kind.is_available() for kind in ACCELERATORS[name]):
        raise ConfigError(f"trainer.accelerator={name}: this machine has none; use cpu or auto")


def _mesh(config: RunConfig) -> Any:
    if not config.placement.simulated or isinstance(config.mesh, Memory):
        return config.mesh
    # Simulated nodes have no sockets: keep what all transports share.
    return Memory(**{f.name: getattr(config.mesh, f.name) for f in fields(MeshOptions)})


def _nodes(config: RunConfig, data: DataSet) -> tuple[NodePlan, ...]:
    fleet = [
        (group, number, entry.model)
        for group, entry in config.fleet.items()
        for number in range(entry.count)
    ]
    own = _site_names(data, len(fleet)) if config.partition.of_sites else None
    named = [
        (f"{group}-{number}" if own is None else own[at], group, model)
        for at, (group, number, model) in enumerate(fleet)
    ]
    task, shares = data.task, _shares(config, data, len(named))
    late = config.partition.newcomers(len(named))
    if late and not isinstance(config.placement, Simulate):
        raise ConfigError(
            f"partition.newcomer_share={config.partition.newcomer_share}: needs "
            "placement=simulate, which alone can let nodes begin late"
        )
    if config.attack.share and not task.classified:
        raise ConfigError(f"attack.name={config.attack.name}: forges classes, not {task.kind}")
    if config.attack.rehearsed and not isinstance(config.synthesis, HeadRule):
        raise ConfigError(
            f"attack.name={config.attack.name}: rehearses a rule that makes one head of class "
            f"statistics, analytic_head or hierarchical, not {config.synthesis.name}"
        )
    attackers, nodes = _attackers(config.attack, shares, config.seed), []
    for index, ((name, group, model), share) in enumerate(zip(named, shares, strict=True)):
        if len(share.train) < MIN_TRAINING:
            raise ConfigError(
                f"partition: {name} gets {len(share.train)} training samples, "
                f"needs {MIN_TRAINING}; fewer nodes, or more partition.samples_per_node"
            )
        sites = data.test_node if share.site is not None else None
        if sites is not None and share.site not in sites:
            raise ConfigError(
                f"data.test_share: site {name} has no test sample; raise test_share, "
                "or give x_test, y_test and node_test"
            )
        seed = int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0])
        attack = config.attack if index in attackers else None
        share = share if attack is None else replace(share, honest=False)
        share = _in_batches(config.growth, share, seed)
        silent = not (share.honest or config.partition.liars_publish)
        begins = config.partition.newcomer_period if index in late else None
        nodes.append(NodePlan(name, index, model, share, seed, silent, begins, attack, group))
    return tuple(nodes)


def _shares(config: RunConfig, data: DataSet, count: int) -> list[Share]:
    """Return what each node has of the data."""
    task, strata, classes = data.task, data.train_y, data.task.classes
    if not task.classified:
        _check_partition(config.partition, task.kind)
        strata, classes = np.zeros(len(data.train_y), np.int64), 1
    shares = assign_samples(
        config.partition,
        strata,
        classes,
        count,
        config.seed,
        data.train_node,
        task.shape,
        data.train_batch,
    )
    if data.further_x is None:
        return shares
    return assign_unlabelled(shares, len(data.further_x), data.further_node, config.seed)


def _in_batches(growth: Growth, share: Share, seed: int) -> Share:
    """Return a share whose training samples come in batches: which in which is drawn."""
    ends = growth.ends(len(share.train))
    if not ends:
        return share
    order = np.random.default_rng([seed, 22]).permutation(share.train)
    return replace(share, train=order, ends=ends)


def _site_names(data: DataSet, nodes: int) -> list[str] | None:
    """Return a node's name for each site, as folders can be called; None where sites have none."""
    made = [plain_name(name) for name in data.site_names]
    alike = len({name.lower() for name in made}) < len(made)
    return None if alike or len(made) != nodes else made


def _attackers(attack: Any, shares: Sequence[Share], seed: int) -> set[int]:
    """Return which nodes attack: drawn among the honest, of whom at least one is left."""
    honest = [index for index, share in enumerate(shares) if share.honest]
    count = min(round(attack.share * len(shares)), len(honest) - 1)
    drawn = np.random.default_rng([seed, 21]).permutation(honest)
    return set(drawn[: max(count, 0)].tolist())


def _check_partition(partition: Partition, kind: str) -> None:
    """Raise ConfigError where a partition deals by classes, and the task has none."""
    by_classes = partition.by_classes()
    if not partition.of_targets or by_classes:
        raise ConfigError(
            f"partition.name={name_of(partition)}{', ' + by_classes if by_classes else ''}: deals "
            f"by classes; a task of {kind} has iid, rotations and natural"
        )


def _checked_networks(config: RunConfig, data: DataSet) -> list[str]:
    """Raise ConfigError where a group's network cannot be; return what is to be known of them."""
    notes = []
    for group, entry in config.fleet.items():
        if entry.count:
            network = make_network(entry.model, data.task, f"fleet.{group}.model")
            check_network(network, data.task, f"fleet.{group}.model")
            if entry.model.own and data.task.columns:
                notes.append(
                    f"fleet.{group}.model: a module of one's own gets a table's numbers in their "
                    "own units, columns in the order of the task; begin it with BatchNorm1d"
                )
            if not any(p.requires_grad for p in network.parameters()):
                notes.append(
                    f"fleet.{group}.model: nothing in this network is trained: no "
                    "parameter requires a gradient"
                )
    return notes


def _check_packets(
    config: RunConfig,
    data: DataSet,
    encoder: Encoder,
    nodes: tuple[NodePlan, ...],
    reference: Floats32 | None,
) -> tuple[str, ...]:
    """Raise ConfigError where packets cannot be had; return what is to be known of them."""
    largest = max(len(node.share.train) for node in nodes)
    size, classes = math.prod(data.task.shape), data.task.classes
    rules = rules_of(config)
    check_task(data.task, rules)
    public = None if reference is None else len(reference)
    d = check_packet(data.task, rules, largest, encoder, public)
    if not data.task.classified:
        return ()
    most = config.distill.most_classes(d, classes, size)
    if most < min(classes, largest // config.distill.min_support):
        return (
            f"distill.max_bytes={config.distill.max_bytes}: a packet tells of {most} of {classes} "
            "classes at most, those with most samples",
        )
    return ()


def public_set(
    config: ReferenceLogits, data: DataSet, nodes: tuple[NodePlan, ...], seed: int
) -> Floats32:
    """Return the inputs that everybody has: the user's file, or training data nobody holds.

    Raises ConfigError or DataError.
    """
    if config.file is not None:
        source = f"distill.file={config.file}"
        try:
            given = np.load(config.file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{source}: must be a .npy of numbers ({error})") from None
        if not isinstance(given, np.ndarray):
            raise DataError(f"{source}: holds several arrays; save one: np.save('public.npy', x)")
        inputs = inputs_of(given, source)
        check_shape(inputs, data.task, source)
        check_range(inputs, data.task, source)
        return inputs
    shares = [node.share for node in nodes]
    chosen = held_by_nobody(shares, len(data.train_y), config.samples, seed)
    if len(chosen) < config.samples:
        raise ConfigError(
            f"distill.samples={config.samples}: {len(chosen)} training samples are held by no node"
        )
    public: Floats32 = data.train_x[chosen]
    return public
