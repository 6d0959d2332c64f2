"""What a node does with its own data: distil it, and synthesize what others sent.

Pure of time and of the mesh: the same samples and the same packets give the same result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.distill import dimensions, distil, payload_statistics
from qsynth.encoder import Encoder
from qsynth.packet import OutcomePacket, Payload, Statistics, class_statistics, merge
from qsynth.similarity import fingerprint, likeness, split_half
from qsynth.synthesis import Predictor, Synthesis, make_pool, synthesize
from qsynth.synthesis.analytic_head import OwnEvidence, with_copies
from qsynth.synthesis.invariance import copies
from qsynth.synthesis.predictor import fit_product
from qsynth.synthesis.teach import Teaching
from qsynth.types import Fingerprint, Floats, Floats32, Ints, NodeId, Task


@dataclass(frozen=True)
class Samples:
    """Hold a node's own training and validation samples, without augmentation.

    x: (n, *task.shape) float32.  y: (n,) class indices.  unlabelled_x: further inputs of one's
    own, for teaching alone.
    """

    train_x: Floats32
    train_y: Ints
    validation_x: Floats32
    validation_y: Ints
    unlabelled_x: Floats32 | None = None


@dataclass(frozen=True)
class Evidence:
    """Hold what one packet says: of features and, where it was sent, of inputs."""

    features: Statistics
    inputs: Statistics | None


@dataclass(frozen=True)
class Outcome:
    """Hold what a node publishes: payload, fingerprint, own samples behind it."""

    payload: Payload
    fingerprint: Fingerprint
    support: int


@dataclass(frozen=True)
class Rules:
    """Hold the configs of the groups distill, similarity and synthesis."""

    distill: Any
    similarity: Any
    synthesis: Any


def read_evidence(payload: Payload) -> Evidence:
    """Return what a payload says.  Raises PacketError where it is malformed."""
    inputs = payload_statistics(payload, "input_") if "input_means" in payload else None
    return Evidence(payload_statistics(payload), inputs)


class Study:
    """Turn own samples and admitted packets into outcomes, heads and teachings."""

    def __init__(
        self, task: Task, encoder: Encoder, rules: Rules, samples: Samples, seed: int
    ) -> None:
        self.task, self.encoder, self.rules, self.samples = task, encoder, rules, samples
        self.seed = seed
        self.d = dimensions(
            rules.distill,
            len(samples.train_y),
            encoder.dimensions,
            task.classes,
            math.prod(task.shape),
        )
        self.head_d = min(rules.synthesis.d or self.d, encoder.dimensions)
        own = OwnEvidence.deal(encoder.encode(samples.train_x), samples.train_y, task.classes, seed)
        self.own = with_copies(own, self.head_d, self._views, task.invariances)
        self._own_inputs: Statistics | None = None
        self._solved: tuple[tuple[tuple[NodeId, int], ...], Synthesis] | None = None

    def _views(self, kind: str) -> list[Floats32]:
        """Return the features of the own samples, changed in a way that leaves their labels."""
        return [self.encoder.encode(copy) for copy in copies(self.samples.train_x, kind)]

    def distil(self) -> Outcome:
        """Return the node's own outcome: the author's own evidence and nothing else."""
        payload = distil(
            self.rules.distill,
            self.d,
            self.own.features,
            self.samples.train_x,
            self.own.labels,
            self.task.classes,
            self.own.copies,
        )
        statistics = payload_statistics(payload)
        own = fingerprint(self.rules.similarity, statistics.counts, statistics.sums)
        return Outcome(payload, own, int(statistics.counts.sum()))

    def self_similarity(self) -> float:
        """Return how alike another node of the same data would look, in [-1, 1].

        From the likeness of two halves of one's own samples, by the Spearman-Brown formula.
        """
        half = split_half(
            self.rules.similarity,
            self.own.mean_features(self.d),
            self.own.labels,
            self.task.classes,
            np.random.default_rng([self.seed, 5]),
        )
        return 2.0 * half / (1.0 + half) if half > 0.0 else 0.0

    def alike(self, one: Fingerprint, other: Fingerprint) -> float:
        """Return how alike two nodes are, in [-1, 1]."""
        return likeness(self.rules.similarity, one, other)

    def synthesize(
        self, packets: Mapping[NodeId, Evidence], versions: Mapping[NodeId, int],
        alike: Mapping[NodeId, float] | None = None,
    ) -> tuple[Synthesis, bool]:  # fmt: skip
        """Return the synthesis of these packets, and whether it is a new one.

        versions: sequence number of each packet; the same set is not solved again.  alike: how
        alike each author is, as a share of how alike a node of the same data would look.
        """
        key = tuple(sorted(versions.items()))
        if self._solved is not None and self._solved[0] == key:
            return self._solved[1], False
        features = {author: evidence.features for author, evidence in packets.items()}
        made = synthesize(self.rules.synthesis, self.own, self.head_d, features, alike)
        self._solved = (key, made)
        return made, True

    def teaching(
        self, synthesis: Synthesis, packets: Mapping[NodeId, Evidence], period: int
    ) -> Teaching | None:
        """Return inputs labelled by the head for one period, or None where nothing is taught."""
        teach = self.rules.synthesis.teach
        inputs = self._inputs(synthesis, packets) if teach.inputs == "generated" else None
        return make_pool(
            teach,
            synthesis.head,
            self.network_log_prior(synthesis),
            self.encoder,
            self.task,
            self._teaching_inputs(),
            inputs,
            np.random.default_rng([self.seed, 6, period]),
        )

    def network_log_prior(self, synthesis: Synthesis) -> Floats:
        """Return the (C,) log label shares that the network's answers follow."""
        teach = self.rules.synthesis.teach
        if teach.inputs == "none" or teach.weight == 0.0 or teach.prior == "own":
            return synthesis.log_prior
        return np.full_like(synthesis.log_prior, -np.log(len(synthesis.log_prior)))

    def _teaching_inputs(self) -> Floats32:
        unlabelled = self.samples.unlabelled_x
        if self.rules.synthesis.teach.inputs != "unlabelled" or unlabelled is None:
            return self.samples.train_x
        return np.concatenate([self.samples.train_x, unlabelled])

    def predictor(
        self, network: nn.Module, synthesis: Synthesis, head_weight: float | None = None
    ) -> Predictor:
        """Return the predictor: the network and the head, weighed on validation samples.

        head_weight: instead of the configured one, for comparisons.
        """
        if head_weight is None:
            head_weight = self.rules.synthesis.head_weight
        predictor = Predictor(network, self.encoder, self.task)
        inputs, labels = self.samples.validation_x, self.samples.validation_y
        logits = network_logits(network, inputs).double().numpy()
        scores = synthesis.head.scores(self.encoder.encode(inputs, synthesis.head.dimensions))
        learned = self.network_log_prior(synthesis)
        weight, temperature = fit_product(
            logits, scores, labels, synthesis.log_prior, head_weight, learned
        )
        predictor.set_head(synthesis.head, synthesis.log_prior, weight, temperature, learned)
        return predictor

    def _inputs(self, synthesis: Synthesis, packets: Mapping[NodeId, Evidence]) -> Statistics:
        if self._own_inputs is None:
            flat = self.samples.train_x.reshape(len(self.samples.train_y), -1)
            self._own_inputs = class_statistics(flat, self.samples.train_y, self.task.classes)
        sent = [packets[author].inputs for author in synthesis.authors]
        return merge([self._own_inputs, *(part for part in sent if part is not None)])


def network_logits(network: nn.Module, inputs: Floats32) -> Tensor:
    """Return (n, C) logits of a network in evaluation mode, on the CPU; its mode is kept."""
    was_training = network.training
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    network.eval()
    with torch.no_grad():
        logits: Tensor = network(torch.from_numpy(inputs).to(device)).cpu()
    network.train(was_training)
    return logits


def is_new(outcome: Outcome, packet: OutcomePacket | None, wall_s: float) -> bool:
    """Return whether an outcome says more than the packet out there, or that is half expired."""
    if packet is None:
        return outcome.support > 0
    payload = outcome.payload
    if wall_s > packet.created_s + packet.ttl_s / 2 or packet.payload.keys() != payload.keys():
        return True
    return any(not np.array_equal(packet.payload[key], payload[key]) for key in payload)
