"""Networks of many nodes, trained one by one by stock Trainers and in one computation, in one run.

The same networks, samples, order of batches and teaching; each takes its turn on one thread.
"""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import TensorDataset

from qsynth.model import make_network
from qsynth.model.classifier import Classifier
from qsynth.model.config import OPTIONS
from qsynth.node.batched import BatchedLearners, Slot
from qsynth.node.learner import TrainerLearner
from qsynth.placement.loader import ResumableLoader
from qsynth.placement.train import quietly, single_threaded
from qsynth.synthesis.teach import Teaching
from qsynth.types import Task

SIDE, CLASSES, BATCH, PERIODS = 14, 10, 20, 4
POOL, EVERY = 200, 4  # inputs that teach a node, and every which step
TASK = Task("bench", 1, tuple(map(str, range(CLASSES))), "image", (1, SIDE, SIDE), "", 0.0, 1.0)


def measure(nodes: int, steps: int, samples: int, model: str, seed: int = 0) -> dict[str, Any]:
    """Return seconds of both ways, their ratio, and how far weights are apart in the end.

    steps: of each node, in four periods.  samples: of each node.
    """
    single_threaded()
    config = OPTIONS[model]()
    period = max(1, steps // PERIODS)
    data = [_samples(seed + number, samples) for number in range(nodes)]
    lessons = [_teaching(seed + number) for number in range(nodes)]
    _one_by_one(config, data[:1], lessons[:1], 2, 1)  # imports and first calls
    began = time.perf_counter()
    single = quietly(lambda: _one_by_one(config, data, lessons, steps, period))
    between = time.perf_counter()
    batched = _batched(config, data, lessons, steps, period)
    ended = time.perf_counter()
    apart = [
        float((one - batched[name][number]).abs().max())
        for number, network in enumerate(single) for name, one in network.items()
    ]  # fmt: skip
    return {
        "nodes": nodes, "steps": steps, "model": model, "samples": samples,
        "single_s": round(between - began, 3), "batched_s": round(ended - between, 3),
        "speedup": round((between - began) / (ended - between), 2), "max_abs_diff": max(apart),
    }  # fmt: skip


def _samples(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    means = torch.rand(CLASSES, *TASK.shape, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(count, *TASK.shape, generator=generator)
    return 0.3 * means[labels] + 0.7 * noise, labels


def _teaching(seed: int) -> Teaching:
    generator = torch.Generator().manual_seed(seed + 10_000)
    inputs = torch.rand(POOL, *TASK.shape, generator=generator)
    targets = torch.rand(POOL, CLASSES, generator=generator).softmax(dim=1)
    return Teaching(inputs, targets, 0.5, 2 * BATCH, EVERY)


def _network(config: Any, seed: int) -> Classifier:
    torch.manual_seed(seed)
    network = make_network(config, TASK)
    assert isinstance(network, Classifier)
    return network


def _one_by_one(
    config: Any, data: list[tuple[torch.Tensor, torch.Tensor]], lessons: list[Teaching],
    steps: int, period: int,
) -> list[dict[str, torch.Tensor]]:  # fmt: skip
    trained = []
    for number, (samples, lesson) in enumerate(zip(data, lessons, strict=True)):
        network = _network(config, number)
        loader = ResumableLoader(TensorDataset(*samples), min(BATCH, len(samples[1])), number)

        def exchange(_period: int, _network: Any, lesson: Teaching = lesson) -> Teaching:
            return lesson

        trainer = pl.Trainer(
            max_steps=steps, max_epochs=-1, callbacks=[TrainerLearner(period, exchange, number)],
            accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(network, loader)
        trained.append({name: p.detach() for name, p in network.named_parameters()})
    return trained


def _batched(
    config: Any, data: list[tuple[torch.Tensor, torch.Tensor]], lessons: list[Teaching],
    steps: int, period: int,
) -> dict[str, torch.Tensor]:  # fmt: skip
    learners = BatchedLearners(_network(config, 0), len(data), steps)
    for number, (inputs, labels) in enumerate(data):
        loader, teacher = (torch.Generator().manual_seed(number) for _ in range(2))
        slot = Slot(inputs, labels, min(BATCH, len(labels)), loader, teacher)
        learners.add(_network(config, number), slot)
    done = 0
    while done < steps:
        for number, lesson in enumerate(lessons):
            learners.ask(number, min(period, steps - done), lesson)
        done += min(period, steps - done)
        learners.ready(0)
    return learners.parameters
