"""The rule `reference_kd`: the network learns what its peers' networks answer to a public set.

Source: FedMD (Li & Wang 2019), section 3, without its server; the authors are those alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from qsynth.synthesis.config import LessonOptions
from qsynth.synthesis.head import log_softmax
from qsynth.synthesis.teach import Teaching
from qsynth.types import Floats, Floats32, NodeId


def agreeing(answers: Mapping[NodeId, Floats], own: Floats) -> tuple[NodeId, ...]:
    """Return the authors, sorted, whose answers tell more of one's own than chance does.

    answers: (R, C) probabilities by author.  own: (R, C) scores of one's own head.
    """
    mine = np.exp(log_softmax(own))
    kept = []
    for author in sorted(answers):
        logs = np.log((answers[author] + 1e-3) / (1.0 + 1e-3 * mine.shape[1]))
        if float((mine * logs).sum(axis=1).mean()) > -np.log(mine.shape[1]):
            kept.append(author)
    return tuple(kept)


def reference_lesson(
    config: LessonOptions,
    authors: tuple[NodeId, ...],
    answers: Mapping[NodeId, Floats],
    reference: Floats32,
) -> Teaching | None:
    """Return the public set with the mean answer of the authors, or None without authors."""
    if not authors:
        return None
    soft = np.mean([answers[author] for author in authors], axis=0)
    return Teaching(
        torch.from_numpy(reference),
        torch.from_numpy(soft.astype(np.float32)),
        config.weight,
        config.batch_size,
        config.every_steps,
    )
