"""Kill a node again and again at random moments: what it has acknowledged must still be there.

    PYTHONPATH=. python tests/benchmarks/kills.py [--kills 200] [--seed 0]

One node stays and publishes a new packet every so often; another joins it, fetches, publishes, says
what it has acknowledged, and is killed with SIGKILL after a random time.  It starts again from its
folder each time.  Prints one JSON object: kills, states that could not be read (corrupt), packets
that were acknowledged and are gone (lost), sequence numbers that were used twice (reused), and the
milliseconds from start to the first answered lookup.  Real processes, sockets and files; nothing is
trained, so torch is not imported.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from lives import Life

LONGEST_S = 1.5  # of a life, after it has begun to answer


def measure(kills: int, seed: int) -> dict[str, Any]:
    """Return what is gone after so many kills."""
    rng, counts = random.Random(seed), {"corrupt": 0, "lost": 0, "reused": 0}
    times: list[float] = []
    published: set[int] = set()
    held: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        stays = Life(Path(folder) / "stays", "", 1)
        first = stays.wait("started")
        assert first is not None
        for number in range(kills):
            life = Life(Path(folder) / "dies", first["address"], number + 2)
            started = life.wait("started")
            if started is None:
                counts["corrupt"] += 1
                break
            counts["lost"] += sum(started["held"].get(a, -1) < v for a, v in held.items())
            counts["lost"] += bool(published) and started["sequence"] < max(published)
            answered = life.wait("answered") if rng.random() < 0.7 else None
            times += [answered["ms"]] if answered else []
            time.sleep(rng.uniform(0.0, LONGEST_S))
            life.kill()
            for line in life.lines:
                if line["kind"] == "publish":
                    counts["reused"] += line["version"] in published
                    published.add(line["version"])
                elif line["kind"] == "admit":
                    held[line["author"]] = max(held.get(line["author"], 0), line["version"])
        stays.kill()
    return {
        "kills": number + 1,
        **counts,
        "published": len(published),
        "held": len(held),
        "answered_ms_median": statistics.median(times),
        "answered_ms_max": max(times),
    }


def main() -> int:
    """Kill, count, print; fail where anything was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    made = measure(options.kills, options.seed)
    print(json.dumps(made))
    return int(made["corrupt"] + made["lost"] + made["reused"] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
