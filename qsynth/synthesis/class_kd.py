"""The rule `class_kd`: the network learns what its peers' networks answer to each class.

Knowledge distillation (Hinton 2015) with one soft target a class, the mean over authors, on own
augmented inputs.  It carries what a model takes for similar, and little else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from qsynth.packet import Statistics
from qsynth.synthesis.config import LessonOptions
from qsynth.synthesis.head import log_softmax
from qsynth.synthesis.teach import Teaching, augmented
from qsynth.types import Floats, Floats32, Ints, NodeId, Task

AGREED = 0.75  # share of common classes that an author's network must name as this node does


def agreeing(
    counts: Floats, logits: Mapping[NodeId, Floats], support: Mapping[NodeId, Statistics]
) -> tuple[NodeId, ...]:
    """Return the authors, sorted, whose networks mean the same by the common classes.

    counts: (C,) own samples.  logits: (C, C) mean answers by author.
    """
    kept = []
    for author in sorted(logits):
        common = np.flatnonzero((counts > 0) & (support[author].counts > 0))
        right = logits[author][common].argmax(axis=1) == common
        if len(common) and right.mean() >= AGREED:
            kept.append(author)
    return tuple(kept)


def class_targets(
    classes: int,
    authors: tuple[NodeId, ...],
    logits: Mapping[NodeId, Floats],
    support: Mapping[NodeId, Statistics],
) -> Floats:
    """Return (C, C) mean answers; the label itself where no author knows the class."""
    total, seen = np.zeros((classes, classes)), np.zeros(classes)
    for author in authors:
        known = support[author].counts > 0
        total[known] += np.exp(log_softmax(logits[author]))[known]
        seen += known
    targets: Floats = np.where(
        (seen > 0)[:, None], total / np.maximum(seen, 1.0)[:, None], np.eye(classes)
    )
    return targets


def class_lesson(
    config: LessonOptions,
    targets: Floats,
    own: Floats32,
    labels: Ints,
    task: Task,
    rng: np.random.Generator,
) -> Teaching:
    """Return own augmented inputs with the soft target of their class.

    own: (n, *shape).  labels: (n,).  targets: (C, C).
    """
    rows = rng.integers(len(own), size=config.pool_size)
    made = augmented(own[rows], task, rng)
    soft = targets[labels[rows]].astype(np.float32)
    return Teaching(
        torch.from_numpy(made),
        torch.from_numpy(soft),
        config.weight,
        config.batch_size,
        config.every_steps,
    )
