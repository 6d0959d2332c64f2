"""Run recipes whole, print the figures of the README, and fail where one falls short.

python tests/benchmarks/claims.py RECIPE [SEED ...]
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

# Field of the summary and the least it must be; accuracies are fractions of 1.
MUSTS = {
    "digits_mesh": {
        "gain.over_alone.own.mean": 0.02,
        "gain.network.over_local": 0.0,
        "pairs.realised": 1,
    },
    "fmnist_rotations": {
        "gain.over_local.own.mean": 0.09,
        "gain.over_alone.own.mean": 0.06,
        "gain.network.over_local": 0.03,
        "gain.network.over_self_taught": 0.03,
        "routing.same_group_share": 0.95,
    },
    "cifar_mesh": {
        "gain.over_local.own.mean": 0.06,
        "gain.over_alone.own.mean": 0.03,
        "gain.network.over_self_taught": 0.015,
    },
}
SHOWN = (
    "accuracy.own.mean",
    "accuracy.own.worst",
    "baseline.local.own.mean",
    "baseline.alone.own.mean",
    "gain.over_local.own.mean",
    "gain.over_local.own.worst",
    "gain.over_alone.own.mean",
    "gain.over_alone.own.worst",
    "gain.network.over_local",
    "gain.network.over_self_taught",
    "routing.recall_at_k",
    "packets.bytes_max",
    "pairs.realised",
    "time.wall_s",
    "time.cpu_s",
    "time.cpu_s_local",
    "memory.node_mib_mean",
)


def get(summary: dict[str, Any], path: str) -> Any:
    for part in path.split("."):
        summary = summary[part]
    return summary


def run(recipe: str, seed: int) -> dict[str, Any]:
    words = [f"+recipe={recipe}", f"seed={seed}", "--json", "--quiet"]
    command = [sys.executable, "-m", "qsynth", "run", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    summary: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return summary


def main() -> int:
    recipe, seeds = sys.argv[1], [int(word) for word in sys.argv[2:]] or [0, 1, 2]
    short = []
    for seed in seeds:
        summary = run(recipe, seed)
        for field in dict.fromkeys((*SHOWN, *MUSTS[recipe])):
            value, least = get(summary, field), MUSTS[recipe].get(field)
            wanted = "" if least is None else f"   must be >= {least}"
            print(f"{recipe} seed {seed}  {field:32} {value:.4f}{wanted}", flush=True)
            if least is not None and value < least:
                short.append((seed, field, value))
        if summary["failures"] or summary["packets"]["rejected"]:
            short.append((seed, "failures", summary["failures"], summary["packets"]["rejected"]))
    for entry in short:
        print(f"SHORT: {entry}")
    return 1 if short else 0


if __name__ == "__main__":
    raise SystemExit(main())
