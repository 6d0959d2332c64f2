"""What one synthesis costs by each rule, in CPU seconds, in one run: the figures of learning.md.

python tests/benchmarks/synthesis_cost.py [--rounds 3]

Packets of 60 samples a site, coded and decoded as on the wire.  No part of CI.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from qsynth.distill import distil, payload_statistics
from qsynth.distill.analytic import Analytic
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.hierarchical import Hierarchical
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.training.fit import single_threaded

CASES = ((10, 30), (10, 128), (10, 320), (100, 128))
SAMPLES, PEERS = 60, (3, 15, 60)


def main() -> int:
    """Print a line for each number of classes, features and packets."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    single_threaded()
    rng = np.random.default_rng(0)
    print("classes  features  packets  analytic_head  hierarchical  ratio")
    for classes, d in CASES:
        means = rng.standard_normal((classes, d))
        samples = max(SAMPLES, 2 * classes)

        def drawn(means=means, samples=samples):
            labels = np.arange(samples) % len(means)
            apart = 0.3 * rng.standard_normal(means.shape)
            noise = rng.standard_normal((samples, means.shape[1]))
            return ((means + apart)[labels] + noise).astype(np.float32), labels

        own = OwnEvidence.from_samples(*drawn(), classes, 0)
        rule = Analytic(min_support=1, max_bytes=32768)
        payloads = [distil(rule, d, x, None, y, classes) for x, y in (drawn() for _ in range(60))]
        packets = {bytes([n]): payload_statistics(p) for n, p in enumerate(payloads)}
        for count in PEERS:
            held = dict(list(packets.items())[:count])
            seconds = []
            for made in (AnalyticHead(gate_s=None), Hierarchical(gate_s=None)):
                taken = []
                for _ in range(rounds):
                    began = time.thread_time()
                    made.head_of(own, d, held, dict.fromkeys(held, 0.8))
                    taken.append(time.thread_time() - began)
                seconds.append(min(taken))
            one, other = seconds
            print(
                f"{classes:7}  {d:8}  {count:7}  {one:13.3f}  {other:12.3f}  {other / one:5.2f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
