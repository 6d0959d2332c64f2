"""One round of packets beside exact analytic federated learning: accuracy against bytes.

python tests/benchmarks/one_shot.py [--clients 10 100] [--alphas 0.1 0.5] [--seed 0]

CIFAR-10, all 50,000 training images dealt to clients by a Dirichlet distribution over classes,
features of EfficientNet-Lite0 at 96 pixels (the first run makes them: some minutes).  AFL
(arXiv 2405.16240) sums full second moments of all clients exactly and solves least squares, which
is what pooled least squares gives.  `lda` solves a linear discriminant of the same exact sums, as
GH-OFL (2602.01186) does.  `packets` merges one coded packet a client.  Test accuracy, one head for
all.  What differs from the papers: the backbone and its resolution.  No part of CI.
"""

from __future__ import annotations

import argparse

import numpy as np

from qsynth.data import load_data
from qsynth.data.cifar10 import Cifar10
from qsynth.data.task import FromData
from qsynth.distill import distil, payload_statistics
from qsynth.distill.analytic import Analytic
from qsynth.encoder import make_encoder
from qsynth.encoder.pretrained import EfficientNetLite0
from qsynth.packet import class_statistics, merge
from qsynth.synthesis.head import Head, solve

WIDE = 1024  # features of the exact sums
PACKETS = ((320, 14, 8192), (640, 36, 32768))  # features, factors, bytes at most
RIDGE = 1.0  # AFL's gamma: it is taken out again in the paper, and hardly matters here
SHRINKAGE = 0.01
FLOAT = 4  # bytes


def dealt(labels: np.ndarray, clients: int, alpha: float, seed: int) -> list[np.ndarray]:
    """Return each client's rows: every class in shares of a Dirichlet distribution (Hsu 2019)."""
    rng = np.random.default_rng([seed, clients])
    rows: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for c in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == c))
        shares = rng.dirichlet(np.full(clients, alpha))
        for client, part in enumerate(
            np.split(members, (np.cumsum(shares)[:-1] * len(members)).astype(int))
        ):
            rows[client].append(part)
    return [np.concatenate(parts) for parts in rows]


def accuracy(head: Head, x: np.ndarray, y: np.ndarray) -> float:
    """Return the percentage of test images that a head names rightly."""
    return 100.0 * float((head.scores(x).argmax(axis=1) == y).mean())


def least_squares(x: np.ndarray, y: np.ndarray, classes: int) -> Head:
    """Return pooled least squares on one-hot labels, which AFL's aggregation gives exactly."""
    plus = np.concatenate([x, np.ones((len(x), 1), np.float32)], axis=1).astype(np.float64)
    weights = np.linalg.solve(
        plus.T @ plus + RIDGE * np.eye(plus.shape[1]), plus.T @ np.eye(classes)[y]
    )
    return Head(weights[:-1], weights[-1])


def main() -> int:
    """Print a line for each number of clients and concentration."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.1, 0.5])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    data = load_data(Cifar10(), FromData())
    classes = data.task.classes
    encoder = make_encoder(EfficientNetLite0(side=96, dimensions=WIDE), data.task)
    x, test = encoder.encode_kept(data.train_x), encoder.encode_kept(data.test_x)
    y, truth = data.train_y, data.test_y
    exact = FLOAT * WIDE * (WIDE + 1 + classes)
    afl = accuracy(least_squares(x, y, classes), test, truth)
    lda = accuracy(solve(class_statistics(x, y, classes), SHRINKAGE), test, truth)
    print(f"AFL, exact, d={WIDE}: {afl:.1f} at {exact:,} bytes a client, any dealing")
    print(f"lda, exact, d={WIDE}: {lda:.1f} at {exact:,} bytes a client, any dealing")
    print("clients  alpha  features  accuracy  bytes a client  of AFL's")
    for clients in options.clients:
        for alpha in options.alphas:
            parts = dealt(y, clients, alpha, options.seed)
            for d, rank, most in PACKETS:
                rule = Analytic(d=d, rank=rank, max_bytes=most, min_support=5)
                packets = [distil(rule, d, x[rows], None, y[rows], classes) for rows in parts]
                size = max(sum(array.nbytes for array in packet.values()) for packet in packets)
                merged = merge([payload_statistics(packet) for packet in packets])
                reached = accuracy(solve(merged, SHRINKAGE), test[:, :d], truth)
                print(
                    f"{clients:7}  {alpha:5}  {d:8}  {reached:8.1f}  {size:14,}  1/{exact // size}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
