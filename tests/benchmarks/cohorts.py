"""What the noise of a cohort leaves of the gain: merged heads, added up without a network.

python tests/benchmarks/cohorts.py RECIPE [--seeds 5 6 7] [--vanish 0] [OVERRIDES ...]

As `heads.py`: no network is trained, no test image is touched.  Nodes of one true group make
cohorts of `privacy.cohort`, in their order; of each, `vanish` members give nothing.  Harmed: nodes
that are worse than alone by more than half a point.  No part of CI.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from heads import World, accuracy, world

from qsynth.distill import Evidence
from qsynth.distill.receipts import Receipts, leaf
from qsynth.experiment.told import SESSION, added
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.training.fit import single_threaded


@dataclass(frozen=True)
class Row:
    """What came of one node: accuracies alone, and in its cohort."""

    alone: float
    mesh: float


def own_accuracy(place: World, node: int, evidence: Evidence | None, authors: int) -> float:
    """Return the own accuracy of a node's head, with the sum of others."""
    pipeline, told = place.pipelines[node], {}
    if evidence is not None and evidence.features.counts.any():
        leaves = tuple(leaf(bytes([i]) * 32, SESSION) for i in range(authors))
        told = {b"cohort": Evidence(evidence.features, receipts=Receipts(leaves, (), 0.0))}
    made = pipeline.rules.synthesis.synthesize(pipeline.own_data, told, {})
    return accuracy(place, node, made)


def cohorts(place: World) -> list[list[int]]:
    """Return the nodes of each cohort."""
    size = getattr(place.plan.rules.privacy, "cohort", 16)
    groups: dict[object, list[int]] = {}
    for node in place.plan.nodes:
        groups.setdefault(node.share.group, []).append(node.index)
    return [g[i : i + size] for g in groups.values() for i in range(0, len(g), size)]


def rows(place: World, vanish: int) -> list[Row]:
    """Return what came of each node of a world."""
    made = []
    for cohort in cohorts(place):
        given = {}
        for node in cohort[vanish:]:
            pipeline = place.pipelines[node]
            assert isinstance(pipeline, ClassPipeline)
            contribution = place.publications[node].contribution
            if contribution is None:
                raise SystemExit("privacy=secure_sum or dp_secure_sum: nothing else adds up")
            given[node] = contribution
        sums = added(list(given.values()))
        for node in cohort[vanish:]:
            evidence = given[node].others(sums, SESSION)
            mesh = own_accuracy(place, node, evidence, len(given) - 1)
            made.append(Row(own_accuracy(place, node, None, 0), mesh))
    return made


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("--seeds", nargs="*", type=int, default=[5, 6, 7])
    parser.add_argument("--vanish", type=int, default=0)
    options, overrides = parser.parse_known_args()
    single_threaded()
    made, data = [], None
    for seed in options.seeds:
        place = world([f"+recipe={options.recipe}", *overrides], seed, data)
        data = place.plan.data
        made += rows(place, options.vanish)
    alone, mesh = (100.0 * np.array([getattr(row, k) for row in made]) for k in ("alone", "mesh"))
    harmed = 100.0 * float(np.mean(mesh < alone - 0.5))
    print(
        f"alone {alone.mean():5.1f}  cohort {mesh.mean():5.1f}  gain {np.mean(mesh - alone):+.1f}"
        f"  least {np.min(mesh - alone):+.1f}  harmed {harmed:.0f} %  of {len(made)}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
