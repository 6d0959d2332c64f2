"""What a mesh is worth, day by day, at sites whose records grow: exact packets and private ones.

python tests/benchmarks/growth.py --data FOLDER [--seeds 0 1 2 3 4] [--days 90] [OVERRIDES ...]

Five sites have 60 training images of Fashion-MNIST each, and ten more every day; each publishes
daily, for ninety days of a simulation.  A row is the mean own accuracy of all predictors at the end
of a day, over all seeds; `fell`: the longest run of days on which it was more than half a point
under the best day before.  Spent: epsilon of the node that has spent most.  No part of CI.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from qsynth.data import load_data
from qsynth.evaluation.evaluate import Evaluator
from qsynth.experiment.arms import Timeline, mesh_config
from qsynth.experiment.build import build
from qsynth.experiment.summary import read_results
from qsynth.recipe.compose import compose
from qsynth.simulation.simulate import simulate
from qsynth.training.fit import single_threaded

FIRST, ROWS, SITES = 60, 10, 5
FELL = 0.5  # points
TEST = 2000  # images
ARMS = {
    "no peers": ["peers=none"],
    "exact packets": [],
    "epsilon 8, a tree": ["privacy=dp", "privacy.epsilon=8", "privacy.updates={days}"],
    "epsilon 8, each day by itself": ["privacy=dp", "privacy.epsilon=8", "privacy.releases={all}"],
    "epsilon 8, the first day alone": ["privacy=dp", "privacy.epsilon=8"],
    "epsilon 3, a tree": ["privacy=dp", "privacy.epsilon=3", "privacy.updates={days}"],
}


def words(data: str, days: int) -> list[str]:
    """Return the overrides of all arms."""
    samples = round((FIRST + ROWS * days) / 0.8)
    return [
        "+recipe=digits_mesh",
        "data=fmnist",
        f"data.root={data}",
        "data.side=14",
        "partition=iid",
        f"partition.samples_per_node={samples}",
        f"fleet.mlp.count={SITES}",
        "fleet.cnn.count=0",
        "fleet.linear.count=0",
        "growth=scheduled",
        f"growth.first={FIRST}",
        f"growth.rows={ROWS}",
        "trainer.period_steps=10",
        f"trainer.max_steps={10 * (days + 1)}",
        "synthesis.teach.inputs=own_mix",
        "similarity.query_support=null",
        "placement=simulate",
        "baselines=[]",
    ]


def fell(daily: list[float]) -> int:
    """Return the longest run of days that were under the best day before by more than `FELL`."""
    longest = run = 0
    best = -np.inf
    for score in daily:
        run = run + 1 if score < best - FELL else 0
        longest, best = max(longest, run), max(best, score)
    return longest


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    options, overrides = parser.parse_known_args()
    single_threaded()
    shown = sorted({1, 5, 10, 20, 30, 60, options.days} & set(range(options.days + 1)))
    print(f"{'':>32} {' '.join(f'day {d:>2}' for d in shown)}   fell  spent  worst node")
    for arm in options.arms:
        daily, spent, worst = [], 0.0, []
        for seed in options.seeds:
            own = [w.format(days=options.days, all=options.days + 1) for w in ARMS[arm]]
            given = [*words(options.data, options.days), f"seed={seed}", *own, *overrides]
            config = mesh_config(compose(given).config, "semantic")
            data = load_data(config.data, config.task)
            with tempfile.TemporaryDirectory() as folder:
                plan = build(config, Path(folder), data)
                timeline = Timeline(plan, Evaluator(plan, most=TEST))
                simulate(plan, timeline)
                told = [r.get("privacy") for r in read_results(plan).values()]
            means = dict(timeline.means() or [])
            daily.append([100.0 * means[float(day)] for day in range(1, options.days + 1)])
            worst.append(100.0 * min(timeline.scores[options.days]))
            spent = max([spent, *(each["spent"] for each in told if each)])
        mean = np.mean(daily, axis=0)
        row = " ".join(f"{mean[day - 1]:6.1f}" for day in shown)
        print(
            f"{arm:>32} {row} {fell(list(mean)):>6} {spent:>6.2f} {min(worst):>11.1f}", flush=True
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
