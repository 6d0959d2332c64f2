"""Networks of many nodes, by stock Trainers, by loops and in one computation, in one run.

The same networks, samples, order of batches and teaching; each takes its turn on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import TensorDataset

from qsynth.errors import RunError
from qsynth.model import make_network
from qsynth.model.classifier import Classifier
from qsynth.model.options import OPTIONS
from qsynth.pipeline.teach import Teaching
from qsynth.training.fit import ALONE, quietly, single_threaded
from qsynth.training.learner import TrainerLearner
from qsynth.training.loader import ResumableLoader
from qsynth.training.loop import Loop
from qsynth.training.stacked import BatchedLearners, Slot
from qsynth.types import Task

SIDE, CLASSES, BATCH, PERIODS = 14, 10, 20, 4
POOL, EVERY = 200, 4  # inputs that teach a node, and every which step
TASK = Task("bench", 1, tuple(map(str, range(CLASSES))), "image", (1, SIDE, SIDE), "", 0.0, 1.0)


def measure(nodes: int, steps: int, samples: int, model: str, seed: int = 0) -> dict[str, Any]:
    """Return seconds of each way, their ratios, and how far weights are apart in the end.

    steps: of each node, in four periods.  samples: of each node.  Raises RunError where a loop has
    trained other bits than a Trainer.
    """
    single_threaded()
    config = OPTIONS[model]()
    period = max(1, steps // PERIODS)
    data = [_samples(seed + number, samples) for number in range(nodes)]
    lessons = [_teaching(seed + number) for number in range(nodes)]
    for way in (_trainer, Loop):  # imports and first calls
        quietly(partial(_one_by_one, way, config, data[:1], lessons[:1], 2, 1))
    began = time.perf_counter()
    single = quietly(lambda: _one_by_one(_trainer, config, data, lessons, steps, period))
    trained = time.perf_counter()
    looped = _one_by_one(Loop, config, data, lessons, steps, period)
    between = time.perf_counter()
    batched = _batched(config, data, lessons, steps, period)
    ended = time.perf_counter()
    for one, other in zip(single, looped, strict=True):
        if not all(torch.equal(one[name], other[name]) for name in one):
            raise RunError("a loop has trained other weights than a Trainer")
    apart = [
        float((one - batched[name][number]).abs().max())
        for number, network in enumerate(single)
        for name, one in network.items()
    ]
    return {
        "nodes": nodes,
        "steps": steps,
        "model": model,
        "samples": samples,
        "seed": seed,
        "single_s": round(trained - began, 3),
        "loop_s": round(between - trained, 3),
        "batched_s": round(ended - between, 3),
        "speedup": round((trained - began) / (ended - between), 2),
        "speedup_loop": round((between - trained) / (ended - between), 2),
        "max_abs_diff": max(apart),
    }


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


def _trainer(max_steps: int, clip: float | None, callbacks: list[pl.Callback]) -> pl.Trainer:
    settings = {"max_steps": max_steps, "gradient_clip_val": clip, "callbacks": callbacks}
    return pl.Trainer(**(ALONE | settings), accelerator="cpu", logger=False)


def _one_by_one(
    way: Callable[..., Any],
    config: Any,
    data: list[tuple[torch.Tensor, torch.Tensor]],
    lessons: list[Teaching],
    steps: int,
    period: int,
) -> list[dict[str, torch.Tensor]]:
    trained = []
    for number, (samples, lesson) in enumerate(zip(data, lessons, strict=True)):
        network = _network(config, number)
        loader = ResumableLoader(TensorDataset(*samples), min(BATCH, len(samples[1])), number)

        def exchange(_period: int, _network: Any, lesson: Teaching = lesson) -> Teaching:
            return lesson

        way(steps, None, [TrainerLearner(period, exchange, number)]).fit(network, loader)
        trained.append({name: p.detach() for name, p in network.named_parameters()})
    return trained


def _batched(
    config: Any,
    data: list[tuple[torch.Tensor, torch.Tensor]],
    lessons: list[Teaching],
    steps: int,
    period: int,
) -> dict[str, torch.Tensor]:
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
