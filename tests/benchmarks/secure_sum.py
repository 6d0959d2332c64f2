"""What a sum of a cohort costs: bytes and CPU of a member, and of the one that collects.

PYTHONPATH=. python tests/benchmarks/secure_sum.py [--members 16] [--features 64] [--classes 10]

Messages go by function calls, coded and decoded.  CPU is of one run, in milliseconds.  No part of
CI.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

import msgspec

from qsynth.privacy import quorum
from qsynth.privacy.pooled import class_numbers, moment_numbers
from tests.cohort import fleet


def measured(members: int, sizes: tuple[int, ...]) -> dict[str, float]:
    """Return kibibytes of a member, there and back, and CPU milliseconds of it and the collector.

    sizes: numbers, a step.
    """
    moved: dict[int, int] = {}
    spent = 0.0
    answer = fleet.answer

    def count(place: int, kind: str, body: Any) -> Any:
        moved[place] = moved.get(place, 0) + len(msgspec.msgpack.encode(body))
        return body

    def timed(*request: Any) -> Any:
        nonlocal spent
        began = time.process_time()
        made = answer(*request)
        spent += time.process_time() - began
        return made

    fleet.answer = timed
    began = time.process_time()
    cohort = fleet.members(members, quorum(members), partial(fleet.Drawn, sizes=sizes))
    joined = (time.process_time() - began) / members
    began = time.process_time()
    collector = fleet.run(cohort, change=count, tell=count)
    whole = time.process_time() - began
    fleet.answer = answer
    last = len(msgspec.msgpack.encode(collector.member.openings[-1]))
    return {
        "kib": round((max(moved.values()) + last) / 1024, 1),
        "member_ms": round(1000 * (joined + spent / (members - 1)), 1),
        "collector_ms": round(1000 * (joined + whole - spent), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    one = class_numbers(options.features, options.classes)
    for name, sizes in (
        ("secure_sum", (one,)),
        ("dp_secure_sum", (moment_numbers(options.features), one)),
    ):
        print(f"{name:14} numbers {sizes}: {measured(options.members, sizes)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
