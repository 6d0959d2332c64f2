"""The rule `replay`: the network trains on its peers' averaged images beside its own samples.

Source: replay of a few stored samples (Chaudhry 2019); images as messages (DOSFL, Zhou 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qsynth.distill.mosaic import Images
from qsynth.packet import Statistics
from qsynth.schema import option, setting
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.base import Gated, OwnData, Packets, Synthesis
from qsynth.synthesis.head import Head, log_softmax
from qsynth.synthesis.lesson import LessonOptions, SoftTargets, augmented
from qsynth.synthesis.own_evidence import OwnEvidence
from qsynth.types import Floats, Floats32, Ints, NodeId, Task

if TYPE_CHECKING:
    from qsynth.encoder import Encoder


@option("synthesis.teach")
@dataclass(frozen=True)
class ReplayLessonOptions(LessonOptions):
    """How a network is taught by received images."""

    labels: str = setting(
        "hard",
        "of received images: their own, or the answers of the head that they make",
        choices=("hard", "head"),
    )
    noise: float = setting(0.05, "added to them, as a share of the input range", low=0.0)


@option("synthesis")
@dataclass(frozen=True)
class Replay(Gated):
    """Train the network on its peers' averaged images (distill=mosaic), and the head too."""

    name: str = setting("replay", "the option's name", choices=("replay",))
    teach: ReplayLessonOptions = field(
        default_factory=ReplayLessonOptions, metadata={"doc": "teaching the network"}
    )

    needs: ClassVar[str | None] = "mosaic"

    def synthesize(
        self, own: OwnData, packets: Packets, alike: Mapping[NodeId, float]
    ) -> Synthesis:
        """Return the head of own evidence and of the images that the gate lets in."""
        assert isinstance(own.evidence, OwnEvidence)
        rule = AnalyticHead(gate=self.gate, gate_s=self.gate_s)
        statistics = image_statistics_of(packets, own.task, own.encoder, own.d)
        return rule.head_of(own.evidence, own.d, statistics, alike)

    def lesson(
        self,
        own: OwnData,
        synthesis: Synthesis,
        packets: Packets,
        rng: np.random.Generator,
        offset: Callable[[Any], Any] | None = None,
    ) -> SoftTargets | None:
        """Return the images of the authors that count."""
        received = images_of(packets, own.task)
        return replay_lesson(
            self.teach,
            [received[author] for author in synthesis.authors],
            synthesis.head,
            synthesis.log_prior,
            own.encoder,
            own.task,
            rng,
        )


def images_of(packets: Packets, task: Task) -> dict[NodeId, tuple[Floats32, Ints]]:
    """Return the images (n, *shape), in the task's range, and labels of packets that hold such."""
    made = {}
    for author, evidence in packets.items():
        told = evidence.told
        if isinstance(told, Images) and told.images.shape[1:] == task.shape:
            span = np.float32(task.high - task.low)
            made[author] = (np.float32(task.low) + span * told.images, told.labels)
    return made


def image_statistics_of(
    packets: Packets, task: Task, encoder: Encoder, d: int
) -> dict[NodeId, Statistics]:
    """Return counts and class sums of d features of the images that packets hold."""
    return {
        author: image_statistics(encoder.encode(images, d), labels, task.classes)
        for author, (images, labels) in images_of(packets, task).items()
    }


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
) -> SoftTargets | None:
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
    return SoftTargets(config, made, soft.astype(np.float32))
