"""The rule `replay`: the network trains on its peers' averaged images beside its own samples.

Source: replay of a few stored samples (Chaudhry 2019); images as messages (DOSFL, Zhou 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from qsynth.encoder import Encoder
from qsynth.packet import Statistics
from qsynth.synthesis.config import ReplayLessonOptions
from qsynth.synthesis.head import Head, log_softmax
from qsynth.synthesis.teach import Teaching, augmented
from qsynth.types import Floats, Floats32, Ints, Task


def image_statistics(features: Floats32, labels: Ints, classes: int) -> Statistics:
    """Return counts and class sums of encoded images; nothing of their scatter.

    Averaged images lie closer together than samples do: a receiver takes its own scatter.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    sums = np.zeros((classes, features.shape[1]))
    np.add.at(sums, labels, features.astype(np.float64))
    return Statistics(counts, sums, np.zeros((features.shape[1],) * 2))


def replay_lesson(
    config: ReplayLessonOptions,
    images: Sequence[tuple[Floats32, Ints]],
    head: Head,
    log_prior: Floats,
    encoder: Encoder,
    task: Task,
    rng: np.random.Generator,
) -> Teaching | None:
    """Return received images, augmented like own ones, with their labels or the head's answers.

    images: (n, *shape) in the task's range and labels (n,), of each author.  log_prior: (C,) of
    the label shares that the network follows: images are drawn so that their labels do too.
    """
    if not images or config.weight == 0.0:
        return None
    inputs = np.concatenate([part[0] for part in images])
    labels = np.concatenate([part[1] for part in images])
    present = np.bincount(labels, minlength=task.classes)
    shares = np.exp(log_prior)[labels] / present[labels]
    rows = rng.choice(len(labels), size=config.pool_size, p=shares / shares.sum())
    made = augmented(inputs[rows], task, rng)
    noise = config.noise * (task.high - task.low) * rng.standard_normal(made.shape)
    made = np.clip(made + noise, task.low, task.high).astype(np.float32)
    soft = np.eye(task.classes)[labels[rows]]
    if config.labels == "head":
        scores = head.scores(encoder.encode(made, head.dimensions))
        soft = np.exp(log_softmax(scores + log_prior))
    return Teaching(
        torch.from_numpy(made),
        torch.from_numpy(soft.astype(np.float32)),
        config.weight,
        config.batch_size,
        config.every_steps,
    )
