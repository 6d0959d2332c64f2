"""The rival SQMD: networks learn from the answers of good and similar ones to a public set.

Source: Ye 2022, Heterogeneous federated learning by similarity-quality-based messenger
distillation, section 4, with a server that everybody sends to.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qsynth.errors import ConfigError
from qsynth.partition import held_by_nobody
from qsynth.rivals.replica import Replica
from qsynth.training.plan import RunPlan
from qsynth.types import Floats32, Ints

PUBLIC = 256  # samples of the public set; the server alone knows their labels
QUALIFIED = 0.5  # share of the nodes, those of the best answers, that others may learn from
NEIGHBOURS = 3  # of these, the most similar, that each node learns from
WEIGHT = (
    1.0  # rho, of the distance to their mean answers: best of 1, 5, 20, fmnist_rotations, seed 5
)
BATCH = 64  # public samples a step
BYTES = 2  # of an answer as it is sent: half precision


def public_samples(plan: RunPlan) -> tuple[Floats32, Ints]:
    """Return inputs and labels of training samples that no node holds.  Raises ConfigError."""
    shares = [node.share for node in plan.nodes]
    chosen = held_by_nobody(shares, len(plan.data.train_y), PUBLIC, plan.seed)
    if len(chosen) < PUBLIC:
        raise ConfigError(
            f"arms=sqmd: needs a public set of {PUBLIC} training samples, "
            f"{len(chosen)} are held by no node"
        )
    return plan.data.train_x[chosen], plan.data.train_y[chosen]


class Messengers:
    """Each node's answers to the public set, and whose it learns from."""

    def __init__(self, plan: RunPlan) -> None:
        inputs, labels = public_samples(plan)
        self.inputs, self.labels = torch.from_numpy(inputs), torch.from_numpy(labels)
        self.targets: list[Tensor] = []
        self.generators = [torch.Generator().manual_seed(node.seed) for node in plan.nodes]

    def loss(self, replica: Replica) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return the further loss of a step, once there are answers of others."""
        if not self.targets:
            return None
        index = replica.node.index
        target, generator = self.targets[index], self.generators[index]

        def pull(_inputs: Tensor, _labels: Tensor) -> Tensor:
            rows = torch.randint(len(self.inputs), (BATCH,), generator=generator)
            answers = torch.softmax(replica.network(self.inputs[rows]), dim=1)
            return WEIGHT * (answers - target[rows]).square().sum(dim=1).mean()

        return pull

    def exchange(self, replicas: list[Replica]) -> float:
        """Send all answers to the server and take back the neighbours' mean; return the bytes."""
        with torch.no_grad():
            logits = [replica.network(self.inputs) for replica in replicas]
        quality = np.array([float(F.cross_entropy(each, self.labels)) for each in logits])
        answers = torch.stack([torch.softmax(each, dim=1) for each in logits])
        chosen = neighbours(answers.double().numpy(), quality)
        self.targets = [answers[rows].mean(dim=0) for rows in chosen]
        return 2.0 * BYTES * answers[0].numel()


def neighbours(answers: np.ndarray, quality: np.ndarray) -> list[list[int]]:
    """Return for each node whom it learns from: of the qualified, the most similar.

    answers: (nodes, n, C) probabilities.  quality: (nodes,) cross-entropy; less is better.
    Similarity is the mean Kullback-Leibler divergence of the others' answers from one's own.
    """
    many = len(answers)
    qualified = np.argsort(quality, kind="stable")[: max(2, round(QUALIFIED * many))]
    logs = np.log(np.maximum(answers, 1e-9))
    chosen = []
    for node in range(many):
        others = [int(other) for other in qualified if other != node]
        apart = [float((answers[node] * (logs[node] - logs[o])).sum(axis=1).mean()) for o in others]
        order = np.argsort(apart, kind="stable")[:NEIGHBOURS]
        chosen.append([others[place] for place in order])
    return chosen
