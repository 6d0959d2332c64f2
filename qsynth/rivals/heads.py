"""FedAvg of a linear head on the shared encoder: the fair rival of statistics that add."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qsynth.host.plan_node import make_pipeline
from qsynth.training.plan import RunPlan

LEARNING_RATE, WEIGHT_DECAY = 3e-3, 1e-2  # tuned on seeds 5-7 of fmnist_rotations
BYTES = 2  # of a weight as it is sent: half precision

HeadWatch = Callable[[int, list[Tensor], float], None]


def run_heads(plan: RunPlan, groups: Sequence[Sequence[int]], watch: HeadWatch) -> None:
    """Train linear heads on encoder features, averaged within each group after every round.

    The features are those of the node's packet; a round is a period of optimizer steps.
    watch: called after each round with its number, each node's (d + 1, C) head and the bytes sent.
    """
    features, labels = [], []
    d = min(make_pipeline(plan, node).d for node in plan.nodes)
    for node in plan.nodes:
        samples = plan.samples(node)
        features.append(_with_bias(plan.encoder.encode(samples.train_x, d)))
        labels.append(torch.from_numpy(samples.train_y))
    heads = [torch.zeros(d + 1, plan.data.task.classes) for _ in plan.nodes]
    optimizers = [
        torch.optim.AdamW([h.requires_grad_()], LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        for h in heads
    ]
    generators = [torch.Generator().manual_seed(node.seed) for node in plan.nodes]
    sent, done, number = 0.0, 0, 0
    while done < plan.trainer.max_steps:
        count = min(plan.trainer.period_steps, plan.trainer.max_steps - done)
        for index, head in enumerate(heads):
            for _ in range(count):
                size = min(plan.batch_size, len(labels[index]))
                rows = torch.randperm(len(labels[index]), generator=generators[index])[:size]
                loss = F.cross_entropy(features[index][rows] @ head, labels[index][rows])
                optimizers[index].zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizers[index].step()
        done, number = done + count, number + 1
        _average(heads, [len(y) for y in labels], groups)
        sent += 2.0 * BYTES * heads[0].numel()
        watch(number, [head.detach() for head in heads], sent)


def _with_bias(features: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(features)
    return torch.cat([tensor, torch.ones(len(tensor), 1)], dim=1)


def _average(heads: list[Tensor], samples: list[int], groups: Sequence[Sequence[int]]) -> None:
    with torch.no_grad():
        for group in groups:
            total = float(sum(samples[index] for index in group))
            mean = torch.stack([heads[i] * (samples[i] / total) for i in group]).sum(dim=0)
            for index in group:
                heads[index].copy_(mean)
