"""What one's own packets give away: membership, inversion and difference attacks, measured.

The attacker has the packet, the encoder, and reference samples of the same distribution that no
node holds.  Attacks only grow stronger: the figures are lower bounds of what a packet tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import rankdata

from qsynth.distill import payload_statistics, read_evidence
from qsynth.distill.mosaic import Images
from qsynth.errors import ConfigError
from qsynth.evaluation.gain import Z
from qsynth.experiment.told import Told, releases, told_by
from qsynth.host.plan_node import make_pipeline
from qsynth.packet import Payload, Statistics, class_statistics, packet_bytes
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.pipeline.target_pipeline import TargetPipeline
from qsynth.privacy.measured import leaning, measured_epsilon
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import Floats, Floats32, Ints

REFERENCE = 6000  # samples of the attacker
CANDIDATES = 600  # among which a sample is to be found
LEAST = 60  # samples that the attacker must have: half of them candidates, half references
FAR = 1e6  # length of a record that a packet tells most of: it is cut to the norm
RELEASES = 900  # packets with and without it
TRIALS = 10  # differences of two successive packets, a node
SHRINKAGE = 0.1  # of the reference covariance


@dataclass(frozen=True)
class _Attacker:
    """What an attacker knows of one node's world: reference features, sorted by nothing."""

    features: Floats32
    labels: Ints
    statistics: Statistics
    precision: Any

    @classmethod
    def of(cls, features: Floats32, labels: Ints, classes: int) -> _Attacker:
        """Learn class means and covariance from reference samples."""
        statistics = class_statistics(features, labels, classes)
        covariance = statistics.scatter / max(len(labels) - classes, 1)
        diagonal = np.diag(np.diag(covariance))
        shrunken = (1.0 - SHRINKAGE) * covariance + SHRINKAGE * diagonal
        shrunken[np.diag_indices(len(shrunken))] += 1e-9
        return cls(features, labels, statistics, cho_factor(shrunken))


def audit(plan: RunPlan) -> dict[str, Any]:
    """Return the figures of the attacks on every node's packet, means over nodes.

    Raises ConfigError where too few samples are left for an attacker.
    """
    if not plan.data.task.classified:
        raise ConfigError(
            f"packet audit: its attacks are on packets of classes, not of {plan.data.task.kind}"
        )
    free = _free_samples(plan)
    pipelines = {node.name: make_pipeline(plan, node) for node in plan.nodes}
    shown = told_by(plan.rules.privacy, pipelines)
    rows = [
        _audit_node(plan, node, pipelines[node.name], free, shown[node.name]) for node in plan.nodes
    ]
    keys = (
        "d",
        "bytes",
        "samples",
        "membership_auc",
        "scatter_auc",
        "fingerprint_auc",
        "mosaic_auc",
        "inversion_rate",
        "difference_rate",
    )
    means = {key: _mean([row[key] for row in rows]) for key in keys}
    counts = {"candidates": rows[0]["candidates"], "references": rows[0]["references"]}
    intervals = {
        f"{key}_interval": _interval(
            means[key], [row["told"] for row in rows if row[key] is not None], counts
        )
        for key in keys
        if key.endswith("_auc")
    }
    told = {"name": plan.name, "seed": plan.seed, "nodes": len(rows)}
    first = pipelines[plan.nodes[0].name]
    assert isinstance(first, ClassPipeline)
    stated = plan.rules.privacy.told([])
    epsilon = {"epsilon": stated and stated["epsilon"], "epsilon_refuted": refuted(first)}
    return told | counts | means | intervals | epsilon


def _interval(area: float | None, members: list[int], counts: dict[str, int]) -> list[float] | None:
    """Return the 95 % interval of a mean AUC over nodes, which share the attacker's candidates.

    Source: Hanley & McNeil 1982, section "standard error of the area"; the part of the candidates
    does not become less with more nodes.
    """
    if area is None:
        return None
    n, m = sum(members), counts["candidates"]
    # Not quite 0 or 1: with few samples neither is certain.
    a = min(max(area, 0.5 / m), 1.0 - 0.5 / m)
    first, second = a / (2.0 - a), 2.0 * a * a / (1.0 + a)
    variance = (a * (1.0 - a) + (n - 1) * (first - a * a) + (m - 1) * (second - a * a)) / (n * m)
    wide = Z * float(np.sqrt(max(variance, 0.0)))
    return [max(area - wide, 0.0), min(area + wide, 1.0)]


def _mean(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else None


def _free_samples(plan: RunPlan) -> tuple[Floats32, Ints]:
    """Return samples that no node holds: of the training set where enough are left, else test."""
    data = plan.data
    held = [part for n in plan.nodes for part in (n.share.train, n.share.validation, n.share.audit)]
    rest = np.setdiff1d(np.arange(len(data.train_y)), np.concatenate(held))
    inputs, labels = data.train_x[rest], data.train_y[rest]
    if len(rest) < REFERENCE:
        inputs = np.concatenate([inputs, data.test_x[:]])
        labels = np.concatenate([labels, data.test_y])
    if len(labels) < LEAST:
        raise ConfigError(
            f"packet audit: {len(labels)} samples are left for the attacker, needs {LEAST}; leave "
            "some to no node (partition.samples_per_node), or more to the test (data.test_share)"
        )
    order = np.random.default_rng([plan.seed, 14]).permutation(len(labels))
    return inputs[order], labels[order]


def _audit_node(
    plan: RunPlan,
    node: NodePlan,
    pipeline: ClassPipeline | TargetPipeline,
    free: tuple[Floats32, Ints],
    told: Told,
) -> dict[str, Any]:
    assert isinstance(pipeline, ClassPipeline)
    rng = np.random.default_rng([node.seed, 15])
    packet = told.statistics
    d = packet.dimensions
    count = min(len(free[1]) // 2, CANDIDATES)
    inputs, labels = node.share.inputs(free[0]), node.share.labels(free[1])
    strangers = pipeline.encoder.encode(inputs[:count], d)
    reference = inputs[count : count + REFERENCE]
    attacker = _Attacker.of(
        pipeline.encoder.encode(reference, d),
        labels[count : count + REFERENCE],
        plan.data.task.classes,
    )
    own, mine = pipeline.own.features[:, :d], pipeline.own.labels
    sent = packet.counts[mine] > 0
    inside = vouchers(attacker, packet, own[sent], mine[sent])
    outside = vouchers(attacker, packet, strangers, labels[:count])
    known = packet.counts[labels[:count]] > 0
    few = min(d, plan.rules.similarity.sketched() or d)
    short = _Attacker.of(attacker.features[:, :few], attacker.labels, plan.data.task.classes)
    print_only = Statistics(packet.counts, packet.sums[:, :few], packet.scatter[:few, :few])
    pixels = _mosaic_auc(told.payload, pipeline, (inputs[:count], labels[:count]))
    return {
        "d": d,
        "mosaic_auc": pixels,
        "bytes": packet_bytes(told.payload),
        "samples": len(mine),
        "told": int(sent.sum()),  # of classes that the packet says something of
        "candidates": count,
        "references": len(attacker.labels),
        "membership_auc": auc(inside, outside[known]) if sent.any() else None,
        "scatter_auc": _scatter_auc(
            attacker, packet, own[sent], mine[sent], strangers[known], labels[:count][known]
        ),
        "fingerprint_auc": auc(
            vouchers(short, print_only, own[sent, :few], mine[sent]),
            vouchers(short, print_only, strangers[known, :few], labels[:count][known]),
        )
        if sent.any()
        else None,
        "inversion_rate": inversion(packet, own, mine, strangers),
        # Into a second sum the same records do not go.
        "difference_rate": None
        if plan.rules.privacy.pooled
        else difference(plan, pipeline, d, strangers, rng),
    }


def vouchers(attacker: _Attacker, packet: Statistics, features: Floats32, labels: Ints) -> Floats:
    """Return (n,) how much more a packet's class mean leans to each sample than chance explains.

    The inner product of the sample and the class mean, both less the reference mean, in the
    metric of the reference covariance; divided by the spread of the sample's side.
    Source: Dwork et al. 2015 (robust traceability from trace amounts), section 3.
    """
    reference = attacker.statistics.means()
    lean = packet.means() - reference
    apart = np.asarray(features, np.float64) - reference[labels]
    whitened = cho_solve(attacker.precision, lean.T).T
    scores: Floats = np.einsum("nd,nd->n", apart, whitened[labels])
    # Under "not a member" the variance of the score is that of the leaning itself.
    spread = np.sqrt(np.einsum("cd,cd->c", whitened, lean))[labels]
    normed: Floats = scores / np.maximum(spread, 1e-12)
    return normed


def _scatter_auc(
    attacker: _Attacker,
    packet: Statistics,
    own: Floats32,
    mine: Ints,
    others: Floats32,
    theirs: Ints,
) -> float | None:
    """Return the AUC of a second attack: how well the packet's Gaussian fits, against chance."""
    if not packet.scatter.any() or not len(own):
        return None
    freedom = max(float(packet.counts.sum() - (packet.counts > 0).sum()), 1.0)
    covariance = packet.scatter / freedom
    covariance[np.diag_indices(len(covariance))] += 1e-6 * np.trace(covariance)
    fitted = cho_factor(covariance)

    def score(features: Floats32, labels: Ints) -> Floats:
        values = np.asarray(features, np.float64)
        near = values - packet.means()[labels]
        far = values - attacker.statistics.means()[labels]
        inner: Floats = np.einsum("nd,nd->n", far, cho_solve(attacker.precision, far.T).T)
        fits: Floats = np.einsum("nd,nd->n", near, cho_solve(fitted, near.T).T)
        return inner - fits

    return auc(score(own, mine), score(others, theirs))


def _mosaic_auc(
    payload: Payload, pipeline: ClassPipeline, strangers: tuple[Floats32, Ints]
) -> float | None:
    """Return the AUC of how near a sample is to the nearest sent image of its class, in pixels.

    None where no images are sent.  Of the classes that were sent alone.
    """
    mosaic = read_evidence(payload, pipeline.rules.distill).told
    if not isinstance(mosaic, Images):
        return None
    task = pipeline.task
    sent = task.low + (task.high - task.low) * mosaic.images.reshape(len(mosaic.labels), -1)
    known = np.unique(mosaic.labels)

    def score(inputs: Floats32, labels: Ints) -> Floats:
        rows = np.isin(labels, known)
        flat = inputs[rows].reshape(int(rows.sum()), -1).astype(np.float64)
        return np.array(
            [
                -np.square(sent[mosaic.labels == label] - row).sum(axis=1).min()
                for row, label in zip(flat, labels[rows], strict=True)
            ]
        )

    return auc(score(pipeline.samples.train_x, pipeline.own.labels), score(*strangers))


def inversion(packet: Statistics, own: Floats32, mine: Ints, strangers: Floats32) -> float:
    """Return the share of own samples that a class mean picks out of `CANDIDATES` strangers.

    The nearest candidate to the class mean: the own sample, where its class has few others.
    """
    found = []
    for index, label in enumerate(mine):
        if packet.counts[label] == 0:
            found.append(False)
            continue
        centre = packet.means()[label]
        apart = np.square(np.asarray(strangers, np.float64) - centre).sum(axis=1)
        found.append(bool(np.square(own[index] - centre).sum() < apart.min()))
    return float(np.mean(found)) if found else 0.0


def difference(
    plan: RunPlan, pipeline: ClassPipeline, d: int, strangers: Floats32, rng: np.random.Generator
) -> float:
    """Return how often the difference of two packets gives away a sample that came between them.

    The later packet holds one sample more.  Found: nearest of all candidates to the difference.
    A node whose data grow never publishes so (`pipeline/batches`); one that is begun anew with a
    sample more, in the same home, would give it away.
    """
    own, labels, classes = pipeline.own.features, pipeline.own.labels, plan.data.task.classes
    hits = []
    for index in rng.permutation(len(labels))[:TRIALS]:
        rest = np.arange(len(labels)) != index
        after, before = (
            payload_statistics(
                plan.rules.privacy.class_payload(
                    plan.rules.distill.statistics(),
                    d,
                    [view[rows] for view in (own, *pipeline.own.copies)],
                    None,
                    labels[rows],
                    classes,
                    pipeline.key,
                )[0]
            )
            for rows in (np.ones(len(labels), bool), rest)
        )
        c = labels[index]
        if before.counts[c] == 0 or after.counts[c] == 0:
            hits.append(False)
            continue
        guess = after.sums[c] - before.sums[c]
        apart = np.square(np.asarray(strangers, np.float64) - guess).sum(axis=1)
        hits.append(bool(np.square(own[index, :d] - guess).sum() < apart.min()))
    return float(np.mean(hits)) if hits else 0.0


def refuted(pipeline: ClassPipeline) -> float | None:
    """Return the epsilon that an attack on very many packets of a node refutes, at 95 %.

    The attacker knows all records but one, which is as far from all others as can be, and wonders
    whether it is there.  None where no epsilon is stated.
    """
    rules, own = pipeline.rules, pipeline.own
    guarantee = rules.privacy.told([])
    if guarantee is None:
        return None
    packet_of = releases(rules, pipeline)
    views = [view[:, : pipeline.d] for view in (own.features, *own.copies)]
    mean = own.features[:, : pipeline.d].mean(axis=0)
    away = -mean / max(float(np.linalg.norm(mean)), 1e-9)
    label = int(np.bincount(own.labels, minlength=own.classes).argmin())
    more = [np.concatenate([view, FAR * away[None].astype(view.dtype)]) for view in views]

    def released(shown: list[Floats32], labels: Ints) -> Callable[[bytes], Statistics]:
        return lambda key: packet_of(shown, labels, key)

    with_ = leaning(released(more, np.append(own.labels, label)), away, label, RELEASES)
    without = leaning(released(views, own.labels), away, label, RELEASES)
    return measured_epsilon(with_, without, float(guarantee["delta"]))


def auc(inside: Floats, outside: Floats) -> float:
    """Return the chance that a member scores above a stranger (Mann-Whitney)."""
    ranks = rankdata(np.concatenate([inside, outside]))
    n, m = len(inside), len(outside)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / max(n * m, 1))
