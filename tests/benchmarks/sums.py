"""Sums against k packets, heads alone: accuracy, all bytes a node, authors reached, truncation.

python tests/benchmarks/sums.py [--seeds 0 1 2 3 4] [--k 15] [OVERRIDES ...]

One JSON object a line: the recipe fmnist_sums, with the overrides (peers.rank=12, say), and the
same fleet fetching k packets each; --k 0 leaves these out.  About
5 minutes a line on one core.  No part of CI.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.evaluation.evaluate import Evaluator
from qsynth.experiment.arms import mesh_config
from qsynth.experiment.build import build
from qsynth.experiment.summary import mesh_scores, read_results
from qsynth.recipe.compose import compose
from qsynth.simulation.simulate import simulate


def measure(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one run without networks."""
    config = mesh_config(compose(overrides).config, "head")
    with tempfile.TemporaryDirectory() as folder:
        plan = build(config, Path(folder))
        simulate(plan)
        results = read_results(plan)
        own = [s.own for s in mesh_scores(plan, list(plan.nodes), Evaluator(plan)).values()]
        leaves, losses = [], []
        for node in plan.nodes:
            last: dict[int, dict[str, Any]] = {}
            lines = (plan.node_folder(node) / "events.jsonl").read_text().splitlines()
            for event in map(json.loads, lines):
                if event["event"] == "admit" and "depth" in event:
                    last[event["depth"]] = event
            leaves.append(sum(event["leaves"] for event in last.values()))
            losses += [event["loss"] for event in last.values()]
    sent = [sum(c["bytes"] for c in r["traffic"].values()) for r in results.values()]
    kinds = ("fetch_answer", "piece_answer")
    fetched = [
        sum(c["bytes"] for kind, c in r["traffic"].items() if kind in kinds)
        for r in results.values()
    ]
    packets = [len(r["authors"]) for r in results.values()]
    return {
        "own_mean": float(np.mean(own)),
        "own_worst": float(min(own)),
        "bytes_per_node": float(np.mean(sent)),
        "packet_bytes_per_node": float(np.mean(fetched)),
        "packets_held": float(np.mean(packets)),
        "authors_reached": float(np.mean(leaves)) if losses else float(np.mean(packets)),
        "loss_mean": float(np.mean(losses)) if losses else 0.0,
        "audited": sum(r["counts"].get("audited_sums", 0) for r in results.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--k", type=int, default=15)
    options, overrides = parser.parse_known_args()
    rivals = {
        "sums": overrides,
        f"k={options.k}": [
            "peers=semantic",
            f"peers.k={options.k}",
            "peers.min_similarity=0.8",
            f"dht.ef={options.k}",
        ],
    }
    if not options.k:
        del rivals["k=0"]
    for seed in options.seeds:
        for name, more in rivals.items():
            words = ["+recipe=fmnist_sums", f"seed={seed}", *more]
            print(json.dumps({"peers": name, "seed": seed} | measure(words)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
