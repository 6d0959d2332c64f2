"""What a run will cost, and what leaves each node: from the composed config alone, without torch.

Traffic and time are estimates; `docs/reference/commands.md` says how far off they were.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from qsynth.config.run import RunConfig
from qsynth.data.base import Layout, layout_of_data
from qsynth.data.dataset import DataSet
from qsynth.data.layout import layout_of
from qsynth.data.load import load_data
from qsynth.distill.analytic import Analytic
from qsynth.encoder.config import FEATURES, EncoderOptions
from qsynth.errors import ConfigError
from qsynth.partition import check_sites
from qsynth.partition.iid import Iid
from qsynth.peers.base import first_k
from qsynth.pipeline.publication import MIN_TRAINING
from qsynth.schema import name_of
from qsynth.similarity import fingerprint_size
from qsynth.synthesis.lesson import MixedLessonOptions

WEIGHT_BYTES = 4
TRAINED_BYTES = 16  # a weight, its gradient, and Adam's two moments
ENVELOPE, CONTACT = (
    70,
    50,
)  # bytes of a message around its body; of a contact beside its fingerprint
FIRST_MIB, NODE_MIB = (
    450.0,
    26.0,
)  # of a process that has imported torch; of each one forked from it
# Measured on two cores of one machine: of a step beside the multiplications, and of these.
STEP_S, MULTIPLICATIONS_PER_S = 0.8e-3, 1e10
TRAINER_S = 0.4e-3  # that a Trainer adds to a step
WARM_REQUESTS = 10.2  # of a lookup that begins in one's own neighbourhood, any size of mesh
SERVING_PERIOD_S = 2.0
FEDAVG_ROUNDS, GOSSIP_DEGREE = 20, 4
SINGLE = "of a class, or an image, of a single sample: that record, as features or as it is"
CHEAP = 4.0  # times the mesh's bytes that a single model may cost to be the simpler choice
# AUC of the membership attack by samples and features, from docs/explanation/privacy.md.
AUDITED = (
    (60, 30, 0.94),
    (60, 64, 0.97),
    (60, 128, 0.98),
    (60, 320, 0.99),
    (135, 67, 0.84),
    (135, 224, 0.82),
)


def forecast(
    config: RunConfig, measured: list[dict[str, Any]] | None = None, layout: Layout | None = None
) -> dict[str, Any]:
    """Return what a plan shows, as plain values; what is unknown is None.

    measured: parameters and seconds a step of each group's network, where they were looked at.
    layout: of data that have been read; None: they are read where it takes that to know.
    """
    layout = layout or layout_of(config.data, config.task)
    nodes = config.nodes
    if not config.fleet and config.partition.of_sites and layout is not None:
        nodes = layout.sites or 0
    if layout is not None:
        config.encoder.check_layout(layout.layout)
        config, layout = _as_trained(config, layout)
        if config.partition.of_sites:
            if layout.sites is None:
                raise ConfigError("partition.name=natural: the data have no `node` array")
            check_sites(layout.sites, nodes)
    samples = _samples(config, layout, nodes)
    fleet = {name: group for name, group in config.fleet.items() if group.count}
    groups = [_group(name, group, config, layout) for name, group in fleet.items()]
    for row in measured or []:
        for group in groups:
            if group["parameters"] is None and group["group"] == row["group"]:
                group["parameters"] = row["parameters"]
                group["bytes"] = WEIGHT_BYTES * row["parameters"]
    packet = None if layout is None or samples is None else _packet(config, layout, samples)
    traffic = _traffic(config, layout, nodes, packet, samples or 0)
    made = {
        "name": config.name,
        "nodes": nodes,
        "samples_per_node": samples,
        "groups": groups,
        "packet": packet,
        "traffic": traffic,
        "leaves": _leaves(config, packet),
        "memory_mib": _memory(groups, nodes),
        "cpu_s": _seconds(config, groups),
    }
    if measured:
        made["measured"] = measured
    return made | {"instead": _instead(groups, nodes), "advice": _advice(config, made)}


def check_early(config: RunConfig, data: DataSet | None = None) -> DataSet | None:
    """Return the data of a file, as a run needs them; None of other options.

    data: where they have been read before.

    What can be known before torch is imported is: whether a file holds such data, and whether no
    node's packet can fit.  Where the number of features is left to the rule, only what it cannot
    make smaller counts.  Raises ConfigError or DataError.
    """
    rule = config.distill
    statistics = rule.statistics()
    if config.data.early and data is None:
        data = load_data(config.data, config.task)
    if statistics is rule and (isinstance(statistics.d, int) or rule.tells_inputs):
        layout = layout_of(config.data, config.task) if data is None else layout_of_data(data)
        if layout is not None and layout.kind == "classes":
            config, layout = _as_trained(config, layout)
            _check_packet(statistics, layout, config.encoder)
    return data


def _as_trained(config: RunConfig, layout: Layout) -> tuple[RunConfig, Layout]:
    """Return config and layout of what networks train on: the inputs, or features of them."""
    if not config.data.features:
        return config, layout
    size = config.encoder.features(math.prod(layout.shape))
    seen = replace(layout, layout="vector", shape=(size,))
    return replace(config, encoder=FEATURES), seen


def _check_packet(rule: Analytic, layout: Layout, encoder: EncoderOptions) -> None:
    """Raise ConfigError where no node's packet can fit."""
    inputs = math.prod(layout.shape)
    samples = layout.train if isinstance(rule.d, int) else MIN_TRAINING
    d = rule.dimensions(
        samples, encoder.features(inputs), layout.outputs, inputs, encoder.least(inputs)
    )
    rule.check_size(d, layout.outputs, inputs, samples=samples)


def _samples(config: RunConfig, layout: Layout | None, nodes: int) -> int | None:
    """Return a node's training samples, on average."""
    partition = config.partition
    if layout is None or not nodes:
        return None
    dealt: int = partition.samples_per_node or layout.train // nodes
    kept = 1.0 - float(partition.validation_share) - float(partition.audit_share)
    return round(dealt * kept)


def _group(name: str, group: Any, config: RunConfig, layout: Layout | None) -> dict[str, Any]:
    model = config.model if group.model is None else group.model
    sized = None if layout is None else model.size(layout.shape, layout.outputs)
    parameters, work = (None, None) if sized is None else sized
    return {
        "group": name,
        "nodes": group.count,
        "model": model.name,
        "parameters": parameters,
        "bytes": None if parameters is None else WEIGHT_BYTES * parameters,
        "work": work,
        "shape": repr(model),
    }


def _packet(config: RunConfig, layout: Layout, samples: int) -> dict[str, Any] | None:
    """Return features and bytes of a packet; None where the rule cannot tell beforehand."""
    if layout.kind != "classes":
        return None
    inputs = math.prod(layout.shape)
    samples = config.privacy.told_samples(samples)
    d = config.distill.dimensions(
        samples,
        config.encoder.features(inputs),
        layout.outputs,
        inputs,
        config.encoder.least(inputs),
    )
    try:
        told = config.distill.check_size(d, layout.outputs, inputs, samples=samples)
    except ConfigError:
        return None
    sizes = config.privacy.class_sizes(d, layout.outputs)
    added = config.privacy.member_bytes(sizes)
    return {"features": d, "bytes": told, "cohort_bytes": added}


def _traffic(
    config: RunConfig,
    layout: Layout | None,
    nodes: int,
    packet: dict[str, Any] | None,
    samples: int,
) -> dict[str, Any] | None:
    """Return messages and bytes that a node sends: over the run, and an hour of serving on.

    samples: of a node, for training, which may come in batches.
    """
    if layout is None or packet is None or nodes < 2:
        return None
    dht = config.dht
    contact = CONTACT + fingerprint_size(config.similarity, layout.outputs)
    crowded = nodes > dht.full_view_below
    replies = dht.replies(crowded) if crowded else min(dht.replies(crowded), nodes - 2)
    k = min(first_k(config.peers), nodes - 1)
    requests = WARM_REQUESTS if crowded else min(nodes - 1, max(dht.ef, k) + k / 2.0)
    lookup = 2 * ENVELOPE + 2 * contact + (replies + 1) * contact
    periods = config.trainer.periods
    lookups = _lookups(periods, dht.quiet_periods) + 1
    fetch = 2 * ENVELOPE + contact + packet["bytes"]
    small = 2 * (ENVELOPE + contact)  # a notice and its answer
    told = config.growth.batches(periods, max(len(config.growth.ends(samples)), 1))
    messages = 2 * (requests * lookups + k * told + 10)
    total = requests * lookups * lookup + k * told * fetch + 10 * small
    idle = 3600.0 / SERVING_PERIOD_S / (1 + dht.quiet_periods)
    return {
        "messages_per_node": round(messages),
        "bytes_per_node": round(total),
        "serving_messages_per_hour": round(2 * requests * idle),
        "serving_bytes_per_hour": round(requests * idle * lookup),
    }


def _lookups(periods: int, quiet: int) -> int:
    """Return how many periods begin with a lookup while the answer stays the same."""
    at, pause, count = 0, 0, 0
    while at < periods:
        pause = 0 if count < 2 else min(2 * pause + 1, quiet)
        count, at = count + 1, at + 1 + pause
    return count


def _leaves(config: RunConfig, packet: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a node sends of its data, and what an attack on the like made of it."""
    rule, statistics = config.distill, config.distill.statistics()
    said = [f"for each class of at least {rule.min_support} samples: how many there are"]
    if packet is not None:
        said.append(f"the mean of {packet['features']} features of each such class")
    if statistics.coding != "means":
        factors = statistics.factors
        rank = f"{factors} factors and a diagonal" if factors else "a diagonal"
        said.append(f"how samples spread around these means: {rank}")
    if rule.least_averaged == 1:
        said.append(SINGLE)
    if statistics.input_rank:
        said.append(f"the same of the raw inputs, in {statistics.input_rank} factors")
    if rule.sends is not None:
        said.append(rule.sends)
    said.append("a fingerprint of these means, to whoever is asked on the way")
    if config.privacy.pooled:
        said = [f"in the sum: {each}" for each in said]
    if name_of(config.growth) != "none" and not config.privacy.noisy:
        said.append(
            f"all of it again, once {rule.min_support} more samples of a class have come: two "
            "packets never differ by fewer"
        )
    said += config.privacy.said()
    audit = None
    if packet is not None and statistics is rule and not config.privacy.guarded:
        near = sorted(AUDITED, key=lambda row: abs(math.log(row[1] / packet["features"])))[:2]
        audit = [{"samples": n, "features": d, "auc": auc} for n, d, auc in near]
    never = "weights, gradients" if SINGLE in said else "weights, gradients, records"
    return {"said": said, "never": never, "audit": audit}


def _memory(groups: list[dict[str, Any]], nodes: int) -> float | None:
    if any(group["parameters"] is None for group in groups) or not groups:
        return None
    trained = float(sum(g["nodes"] * g["parameters"] for g in groups)) * TRAINED_BYTES / 2**20
    return round(FIRST_MIB + NODE_MIB * max(nodes - 1, 0) + trained)


def _seconds(config: RunConfig, groups: list[dict[str, Any]]) -> float | None:
    """Return CPU seconds of all nodes' training, teaching included."""
    if any(group["work"] is None for group in groups) or not groups:
        return None
    teach = config.synthesis.teach
    mixed = isinstance(teach, MixedLessonOptions)
    taught = teach.weight > 0 and (not mixed or teach.inputs != "none")
    more = 1.0 + 1.0 / teach.every_steps if taught else 1.0
    trainer = config.trainer
    stock = trainer.logger != "none" or trainer.arguments or trainer.accelerator != "cpu"
    total = 0.0
    for group in groups:
        step = STEP_S + 3.0 * group["work"] * config.data.batch_size / MULTIPLICATIONS_PER_S
        step = step * more + (TRAINER_S if stock else 0.0)
        total += group["nodes"] * trainer.max_steps * step
    return round(float(total), 1)


def _instead(groups: list[dict[str, Any]], nodes: int) -> dict[str, Any]:
    """Return what exchanging weights would cost a node; None where the models differ."""
    shapes = {group["shape"] for group in groups if group["nodes"]}
    bytes_ = next((group["bytes"] for group in groups if group["nodes"]), None)
    if len(shapes) != 1 or bytes_ is None or nodes < 2:
        return {"architectures": len(shapes), "fedavg_bytes": None, "gossip_bytes": None}
    return {
        "architectures": 1,
        "fedavg_bytes": 2 * bytes_ * FEDAVG_ROUNDS,
        "gossip_bytes": min(GOSSIP_DEGREE, nodes - 1) * bytes_ * FEDAVG_ROUNDS,
    }


def _advice(config: RunConfig, made: dict[str, Any]) -> str:
    """Return one sentence: whether a mesh is what this fleet needs."""
    one_situation = config.partition.one_situation
    traffic, instead = made["traffic"], _instead(made["groups"], made["nodes"])
    fedavg = instead["fedavg_bytes"]
    if made["nodes"] < 2:
        return "One node has nobody to learn from: train it as it is."
    if traffic is None:
        return "Unknown before a run: `qsynth compare` measures whether peers help here."
    cheap = fedavg is not None and fedavg <= CHEAP * traffic["bytes_per_node"]
    if fedavg is not None and one_situation and (cheap or isinstance(config.partition, Iid)):
        return (
            "Use FedAvg if all nodes may share one model and a coordinator: one architecture, one "
            f"situation, and {FEDAVG_ROUNDS} rounds of weights cost {fedavg // 1024} KiB a node."
        )
    if made["samples_per_node"] is not None and made["samples_per_node"] >= 2000:
        return (
            "Nodes with so many samples gain little from packets: run `qsynth compare` before you "
            "decide (cifar_native gained .4 points)."
        )
    if fedavg is None and instead["architectures"] < 2:
        return "Networks of your own: `qsynth plan --measure` tells how large they are."
    if fedavg is None:
        return "Networks differ, so weights cannot be averaged: a mesh is the choice, or none."
    return (
        f"FedAvg of one model would cost {fedavg / max(traffic['bytes_per_node'], 1):.0f} times "
        "the bytes of this mesh, and would mix nodes that may be in different situations: "
        "`qsynth compare` measures it."
    )
