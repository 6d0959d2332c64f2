"""What admitted packets say to this node: of each kind, what it can use."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qsynth.distill import Evidence
from qsynth.distill.reference_logits import reference_digest
from qsynth.encoder import Encoder
from qsynth.packet import Statistics
from qsynth.synthesis.replay import image_statistics
from qsynth.types import Floats, Floats32, Ints, NodeId, Task

Packets = Mapping[NodeId, Evidence]


def logits_of(packets: Packets) -> dict[NodeId, Floats]:
    """Return the (C, C) mean answers of the networks that sent such."""
    return {a: e.logits for a, e in packets.items() if e.logits is not None}


def answers_of(packets: Packets, reference: Floats32) -> dict[NodeId, Floats]:
    """Return the answers to one's own public set: those to another say nothing here."""
    digest, made = reference_digest(reference), {}
    for author, evidence in packets.items():
        answers = evidence.answers
        if answers is None or answers.digest != digest:
            continue
        if len(answers.probabilities) == len(reference):
            made[author] = answers.probabilities
    return made


def images_of(packets: Packets, task: Task) -> dict[NodeId, tuple[Floats32, Ints]]:
    """Return the images (n, *shape), in the task's range, and labels of packets that hold such."""
    made = {}
    for author, evidence in packets.items():
        mosaic = evidence.mosaic
        if mosaic is not None and mosaic.images.shape[1:] == task.shape:
            span = np.float32(task.high - task.low)
            made[author] = (np.float32(task.low) + span * mosaic.images, mosaic.labels)
    return made


def image_statistics_of(
    packets: Packets, task: Task, encoder: Encoder, d: int
) -> dict[NodeId, Statistics]:
    """Return counts and class sums of d features of the images that packets hold."""
    return {
        author: image_statistics(encoder.encode(images, d), labels, task.classes)
        for author, (images, labels) in images_of(packets, task).items()
    }
