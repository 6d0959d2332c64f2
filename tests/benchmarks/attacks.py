"""Attacks on a fleet: what the honest nodes keep of their gain, merged heads without networks.

python tests/benchmarks/attacks.py [--recipe fmnist_rotations] [--share 0.1 0.2 0.3]
    [--attack label_flip ...] [--seeds 0 1 2 3 4] [--whole] [-- OVERRIDES ...]

One JSON object an attack and share: own accuracy of the honest nodes alone, with the attackers
silent, and under attack; the least difference to `alone` over seeds; the share of the gain that is
kept.  --whole trains the networks too.  About five seconds a seed and figure, a minute with
networks.  No part of CI.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from qsynth.attack.options import OPTIONS
from qsynth.evaluation.evaluate import Evaluator
from qsynth.experiment.arms import mesh_config
from qsynth.experiment.build import build
from qsynth.experiment.summary import mesh_scores, read_results
from qsynth.peers.none import NoPeers
from qsynth.recipe.compose import compose
from qsynth.simulation.simulate import simulate
from qsynth.training.fit import single_threaded

FIGURES = ("alone", "silent", "attacked")


def own(overrides: Sequence[str], figure: str, whole: bool) -> tuple[float, dict[str, int]]:
    """Return mean own accuracy of the honest nodes, and what they have refused, by reason."""
    single_threaded()
    config = compose(overrides).config
    if figure == "silent":
        config = replace(config, partition=replace(config.partition, liars_publish=False))
    config = mesh_config(config, "semantic" if whole else "head")
    if figure == "alone":
        config = replace(config, peers=NoPeers())
    with tempfile.TemporaryDirectory() as folder:
        plan = build(config, Path(folder))
        simulate(plan)
        honest = [node for node in plan.nodes if node.share.honest]
        scores = mesh_scores(plan, honest, Evaluator(plan))
        reasons: dict[str, int] = {}
        for name, result in read_results(plan).items():
            if name in {node.name for node in honest}:
                for key, count in result["counts"].items():
                    if key.startswith("rejected_"):
                        reasons[key] = reasons.get(key, 0) + count
    return fmean(score.own for score in scores.values()), reasons


def measure(
    pool: ProcessPoolExecutor,
    words: Sequence[str],
    seeds: Sequence[int],
    whole: bool,
    known: dict[Any, Any],
) -> dict[str, Any]:
    """Return the figures of one attack and share.

    known: jobs of figures that do not depend on the attack, filled as it goes.
    """
    jobs = {}
    for seed in seeds:
        for figure in FIGURES:
            key: Any = (figure, seed, *words[1:])
            if figure == "attacked":
                key = (figure, seed, *words)
            if key not in known:
                known[key] = pool.submit(own, [*words, f"seed={seed}"], figure, whole)
            jobs[figure, seed] = known[key]
    done = {key: job.result() for key, job in jobs.items()}
    reached = {figure: [done[figure, seed][0] for seed in seeds] for figure in FIGURES}
    means = {figure: fmean(values) for figure, values in reached.items()}
    gain = means["silent"] - means["alone"]
    over = [a - b for a, b in zip(reached["attacked"], reached["alone"], strict=True)]
    refused: dict[str, int] = {}
    for (figure, _), (_, reasons) in done.items():
        if figure == "attacked":
            for reason, count in reasons.items():
                refused[reason] = refused.get(reason, 0) + count
    return {
        **{figure: round(mean, 4) for figure, mean in means.items()},
        "least_over_alone": round(min(over), 4),
        "gain_kept": round((means["attacked"] - means["alone"]) / gain, 3) if gain > 0 else None,
        "refused": refused,
    }


def main() -> int:
    """Print a line for every attack and share."""
    parser = argparse.ArgumentParser()
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--recipe", default="fmnist_rotations")
    parser.add_argument("--share", nargs="*", type=float, default=[0.1, 0.2, 0.3])
    parser.add_argument("--attack", nargs="*", default=[name for name in OPTIONS if name != "none"])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--whole", action="store_true")
    options = parser.parse_intermixed_args()
    known: dict[Any, Any] = {}
    with ProcessPoolExecutor(2) as pool:
        for attack in options.attack:
            for share in options.share:
                # The attack first: what follows is the same for those who are alone or silent.
                words = [
                    f"attack={attack}",
                    f"+recipe={options.recipe}",
                    f"attack.share={share}",
                    "placement=simulate",
                    *options.overrides,
                ]
                made = measure(pool, words, options.seeds, options.whole, known)
                print(json.dumps({"attack": attack, "share": share} | made), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
