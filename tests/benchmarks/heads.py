"""The merged head alone, under other merges, gates and peers: the figures of learning.md.

python tests/benchmarks/heads.py RECIPE [--seeds 5 6 7] [--k 3 7 15] [OVERRIDES ...]

No network is trained and no test image is touched: heads are measured on training images that no
node holds.  Peers are the k most alike by the fingerprints themselves.  No part of CI.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.data import DataSet
from qsynth.distill import read_evidence
from qsynth.experiment.build import build
from qsynth.host.plan_node import make_pipeline
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.pipeline.participant import LEAST_SAME
from qsynth.pipeline.publication import Publication
from qsynth.placement.config import Simulate
from qsynth.recipe.compose import compose
from qsynth.synthesis import Synthesis
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.hierarchical import Hierarchical
from qsynth.training.fit import single_threaded
from qsynth.training.plan import RunPlan
from qsynth.types import Floats, Floats32, Ints

FREE = 2500  # images that heads are measured on, at most
LEAST_FREE = 500


@dataclass(frozen=True)
class World:
    """One seed's fleet: what every node knows, publishes, and is measured on."""

    plan: RunPlan
    pipelines: list[ClassPipeline]
    publications: list[Publication]
    alike: Floats
    inputs: Floats32
    labels: Ints
    features: dict[int, Floats32]


def world(overrides: Sequence[str], seed: int, data: DataSet | None) -> World:
    """Return a seed's fleet after its nodes have looked at their own data."""
    config = replace(compose([*overrides, f"seed={seed}"]).config, placement=Simulate())
    plan = build(config, Path(), data)
    if any(node.share.site is not None for node in plan.nodes):
        raise SystemExit("sites have rows of their own: use qsynth compare arms=[head]")
    parts = [part for n in plan.nodes for part in (n.share.train, n.share.validation)]
    parts += [n.share.audit for n in plan.nodes]
    free = np.setdiff1d(np.arange(len(plan.data.train_y)), np.concatenate(parts))
    if len(free) < LEAST_FREE:
        raise SystemExit(f"{len(free)} training samples are free, needs {LEAST_FREE}")
    free = np.random.default_rng([seed, 21]).permutation(free)[:FREE]
    pipelines = [make_pipeline(plan, node) for node in plan.nodes]
    publications = [pipeline.distil() for pipeline in pipelines]
    prints = [publication.fingerprint for publication in publications]
    alike = np.array([[pipelines[0].alike(one, other) for other in prints] for one in prints])
    same = [pipeline.self_similarity() for pipeline in pipelines]
    alike /= np.maximum(same, LEAST_SAME)[:, None]
    np.fill_diagonal(alike, -np.inf)
    inputs, labels = plan.data.train_x[free], plan.data.train_y[free]
    return World(plan, pipelines, publications, alike, inputs, labels, {})


def own_accuracy(place: World, node: int, authors: Sequence[int], rules: dict[str, Any]) -> float:
    """Return the own accuracy of a node's head with these authors' packets."""
    pipeline = place.pipelines[node]
    packets = {
        bytes([a]): read_evidence(place.publications[a].payload).features for a in map(int, authors)
    }
    alike = {bytes([a]): float(place.alike[node, a]) for a in map(int, authors)}
    alike = {} if pipeline.rules.privacy.guarded else alike  # as `ClassPipeline.synthesize` does
    config = rules.pop("rule", pipeline.rules.synthesis)
    made = replace(config, **rules).head_of(pipeline.own, pipeline.head_d, packets, alike)
    return accuracy(place, node, made)


def accuracy(place: World, node: int, made: Synthesis) -> float:
    """Return the own accuracy of a node's head."""
    pipeline, share = place.pipelines[node], place.plan.nodes[node].share
    turns = share.quarter_turns
    if turns not in place.features:
        place.features[turns] = pipeline.encoder.encode(share.inputs(place.inputs))
    answers = made.head.scores(place.features[turns]) + made.log_prior
    labels, classes = share.labels(place.labels), place.plan.data.task.classes
    held = place.plan.data.train_y[np.concatenate([share.train, share.validation])]
    shares = np.bincount(share.labels(held), minlength=classes) / len(held)
    weights = (shares / np.maximum(np.bincount(labels, minlength=classes), 1))[labels]
    return float(((answers.argmax(axis=1) == labels) * weights).sum() / weights.sum())


def nearest(place: World, node: int, k: int, floor: float = -np.inf) -> list[int]:
    """Return the k nodes most alike, above a share of self-similarity."""
    order = np.argsort(-place.alike[node], kind="stable")[:k]
    return [int(o) for o in order if o != node and place.alike[node, o] >= floor]


def mates(place: World, node: int, k: int) -> list[int]:
    """Return k nodes of the same true group."""
    group = place.plan.nodes[node].share.group
    others = [n.index for n in place.plan.nodes if n.share.group == group and n.index != node]
    return others[:k]


def show(name: str, places: Sequence[World], choose: Any, **rules: Any) -> None:
    """Print one line: mean and worst own accuracy over honest nodes and seeds."""
    values = [
        own_accuracy(place, node.index, choose(place, node.index), dict(rules))
        for place in places
        for node in place.plan.nodes
        if node.share.honest
    ]
    print(f"{name:28} own {100 * np.mean(values):5.1f}  worst {100 * min(values):5.1f}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("--seeds", nargs="*", type=int, default=[5, 6, 7])
    parser.add_argument("--k", nargs="*", type=int, default=[])
    options, overrides = parser.parse_known_args()
    single_threaded()
    places: list[World] = []
    for seed in options.seeds:
        data = places[0].plan.data if places else None
        places.append(world([f"+recipe={options.recipe}", *overrides], seed, data))
    peers = places[0].plan.peers
    k, floor, many = (
        getattr(peers, "k", 3),
        getattr(peers, "min_similarity", 0.0),
        len(places[0].pipelines),
    )
    rng = np.random.default_rng(22)

    def strangers(place: World, node: int) -> list[int]:
        others = [other for other in range(many) if other != node]
        return [int(o) for o in rng.choice(others, min(k, len(others)), replace=False)]

    show("no peers", places, lambda *_: [])
    show(f"the recipe's (k={k})", places, lambda p, n: nearest(p, n, k, floor))
    for rule in (AnalyticHead(), Hierarchical()):
        show(f"{rule.name} (k={k})", places, lambda p, n: nearest(p, n, k, floor), rule=rule)
    if places[0].plan.nodes[0].share.group is not None:
        show(f"true group (k={k})", places, lambda p, n: mates(p, n, k))
        right = [
            np.mean(
                [
                    p.plan.nodes[o].share.group == p.plan.nodes[n].share.group
                    for o in nearest(p, n, k)
                ]
            )
            for p in places
            for n in range(many)
        ]
        print(f"precision@{k} of the fingerprint: {np.mean(right):.2f}")
    for count in options.k:
        for merge in ("whole", "classwise", "auto"):
            rule = AnalyticHead(merge=merge)
            show(f"k={count}, {merge}", places, lambda p, n, c=count: nearest(p, n, c), rule=rule)
    show("random, gate", places, strangers, rule=AnalyticHead())
    show("random, no gate", places, strangers, rule=AnalyticHead(gate="none"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
