"""The pipeline for labels and values: joint statistics, ridge regression, and its teaching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from qsynth.distill import (
    Evidence,
    check_target_size,
    distil_targets,
    read_evidence,
    target_dimensions,
)
from qsynth.encoder import Encoder
from qsynth.errors import ConfigError
from qsynth.model.outputs import is_lost, network_outputs
from qsynth.packet import redrawn
from qsynth.pipeline.batches import all_told
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.pipeline.predictor import Predictor
from qsynth.pipeline.publication import Publication, Rules, Samples
from qsynth.pipeline.target_predictor import TargetPredictor, fit_mean
from qsynth.pipeline.teach import Lesson
from qsynth.privacy import bound
from qsynth.schema import name_of
from qsynth.similarity import fingerprint, fingerprint_size, whole_from_half
from qsynth.synthesis import OwnData, Synthesis
from qsynth.synthesis.own_evidence import TargetEvidence
from qsynth.types import LABELS, VALUES, Fingerprint, Floats, NodeId, Task

# Of a node's samples, that its evidence is made of; what more would tell is lost in rounding.
MOST_TRAINING, MOST_VALIDATION = 1 << 16, 1 << 14


class TargetPipeline:
    """Turn own samples and admitted packets into publications, heads and teachings.

    The same as `ClassPipeline`, for tasks whose samples have K labels or values.
    """

    summed = False
    follows_network = False

    def __init__(
        self,
        task: Task,
        encoder: Encoder,
        rules: Rules,
        samples: Samples,
        seed: int,
        key: bytes = b"",
    ) -> None:
        check_task(task, rules)
        self.task, self.encoder, self.rules, self.samples = task, encoder, rules, samples
        self.seed, self.key = seed, bound(key, encoder.digest)
        self.rule = rules.distill.statistics()
        counted = np.zeros(len(samples.train_y), np.int64)
        self._told, count = all_told(rules.privacy, rules.distill, counted, samples.ends)
        told = rules.privacy.told_samples(count)
        self.d, own_d = (
            target_dimensions(self.rule, count, encoder.dimensions, task.classes, encoder.least)
            for count in (told, len(samples.train_y))
        )
        self.head_d = min(rules.synthesis.d or own_d, encoder.dimensions)
        features = encoder.encode_kept(samples.train_x)
        self.own = TargetEvidence.from_samples(features, samples.train_y.astype(np.float32), seed)
        self.own_data = OwnData(
            task, encoder, self.own, samples.train_x, self.head_d, self.alone, samples.unlabelled_x
        )
        self._solved: tuple[tuple[tuple[NodeId, int], ...], Synthesis] | None = None

    def distil(self, network: nn.Module | None = None, batches: int | None = None) -> Publication:
        """Return the node's own publication; the network has no part in it.

        batches: of the samples that it tells of, under a guarantee; None: all.
        """
        own, inputs, privacy = self.own, self.samples.train_x, self.rules.privacy
        kind, features, targets, ends = self.task.kind, own.features, own.targets, self.samples.ends
        told = self._told
        if batches is not None:
            ends = ends[:batches]
            told = slice(0, ends[-1])
        features, inputs, targets = features[told], inputs[told], targets[told]
        given = privacy.target_contribution(
            self.rule, self.d, features, inputs, targets, kind, self.key
        )
        if given is not None:
            size = fingerprint_size(self.rules.similarity, self.task.sketched)
            return Publication.of_cohort(given, size)
        payload, releases = privacy.target_payload(
            self.rule, self.d, features, inputs, targets, kind, self.key, ends
        )
        evidence = read_evidence(payload)
        print_ = fingerprint(self.rules.similarity, *evidence.sketched())
        support = int(evidence.features.counts.sum())
        return Publication(payload, print_, support, print_, releases=releases)

    def self_similarity(self) -> float:
        """Return how alike another node of the same data would look, in [-1, 1].

        From the likeness of the two folds, by the Spearman-Brown formula.  Where packets are noisy,
        from what such a packet says.
        """
        if self.rules.privacy.pooled:
            return 1.0  # the sum will tell
        if self.rules.privacy.guarded:
            told = read_evidence(self.distil().payload)
            assert told.joint is not None
            rng = np.random.default_rng([self.seed, 5])
            prints = [
                fingerprint(
                    self.rules.similarity, *replace(told, joint=redrawn(told.joint, rng)).sketched()
                )
                for _ in range(2)
            ]
            return self.alike(*prints)
        halves = [
            read_evidence(
                distil_targets(
                    self.rule,
                    self.d,
                    self.own.features[fold],
                    self.own.targets[fold],
                    self.task.kind,
                )
            )
            for fold in self.own.folds
        ]
        one, other = (fingerprint(self.rules.similarity, *h.sketched()) for h in halves)
        return whole_from_half(self.alike(one, other))

    def alike(self, one: Fingerprint, other: Fingerprint) -> float:
        """Return how alike two nodes are, in [-1, 1]."""
        return self.rules.similarity.likeness(one, other)

    def synthesize(
        self,
        packets: Mapping[NodeId, Evidence],
        versions: Mapping[NodeId, int],
        alike: Mapping[NodeId, float] | None = None,
    ) -> tuple[Synthesis, bool]:
        """Return the synthesis of these packets, and whether it is a new one."""
        key = tuple(sorted(versions.items()))
        if self._solved is not None and self._solved[0] == key:
            return self._solved[1], False
        trusted = {} if self.rules.privacy.guarded else alike or {}
        made = self.rules.synthesis.synthesize(self.own_data, packets, trusted)
        self._solved = (key, made)
        return made, True

    def teaching(
        self,
        synthesis: Synthesis,
        packets: Mapping[NodeId, Evidence],
        period: int,
        network: nn.Module | None = None,
    ) -> Lesson | None:
        """Return inputs with the head's targets for one period, or None."""
        rng = np.random.default_rng([self.seed, 6, period])
        return self.rules.synthesis.lesson(self.own_data, synthesis, packets, rng)

    def predictor(
        self, network: nn.Module, synthesis: Synthesis, head_weight: float | None = None
    ) -> Predictor:
        """Return the predictor: the network and the head, weighed on validation samples."""
        if head_weight is None:
            head_weight = self.rules.synthesis.head_weight
        predictor = TargetPredictor(network, self.encoder, self.task)
        inputs = self.samples.validation_x
        answers = network_outputs(network, torch.from_numpy(inputs))
        predictor.lost, outputs = is_lost(network, answers), answers.double().numpy()
        features = self.encoder.encode_kept(inputs)[:, : synthesis.head.dimensions]
        scores = synthesis.head.scores(features)
        targets: Floats = self.samples.validation_y.astype(np.float64)
        weight = 1.0
        if not predictor.lost:
            weight = fit_mean(outputs, scores, targets, self.task.kind == LABELS, head_weight)
        predictor.set_head(synthesis.head, synthesis.log_prior, weight, 1.0)
        if self.task.kind == VALUES and len(targets):
            both = (1.0 - weight) * np.nan_to_num(outputs) + weight * scores
            predictor.set_width(both, targets)
        return predictor

    def alone(self) -> Synthesis:
        """Return the synthesis of own evidence alone."""
        return self.rules.synthesis.alone(self.own_data)

    def losses(self, predictor: Predictor) -> Floats:
        """Return (n,) mean squared errors of a predictor on each validation sample."""
        targets: Floats = self.samples.validation_y.astype(np.float64)
        if not len(targets):
            return np.zeros(0)
        inputs = self.samples.validation_x
        logits = network_outputs(predictor.network, torch.from_numpy(inputs))
        with torch.no_grad():
            scores = predictor.scores_of(torch.from_numpy(self.encoder.encode_kept(inputs)))
            answers = predictor.combine(logits, scores, "own").double().numpy()
        lost: Floats = np.square(answers - targets).mean(axis=1)
        return lost

    def validation_score(self, network: nn.Module, synthesis: Synthesis) -> float | None:
        """Return the network's share of right labels, or of variance explained; None if lost."""
        targets = self.samples.validation_y
        answers = network_outputs(network, torch.from_numpy(self.samples.validation_x))
        if not len(targets) or is_lost(network, answers):
            return None
        outputs = answers.numpy()
        if self.task.kind == LABELS:
            return float(np.mean((outputs > 0.0) == (targets > 0.5)))
        spread = max(float(targets.var(axis=0).sum()), 1e-9)
        return 1.0 - float(np.square(outputs - targets).mean(axis=0).sum()) / spread


def make_pipeline(
    task: Task, encoder: Encoder, rules: Rules, samples: Samples, seed: int, key: bytes = b""
) -> ClassPipeline | TargetPipeline:
    """Return the pipeline for a task's kind.

    Of more samples than heads need it has a drawn part; the network trains on all of them.  key:
    the node's secret, of the noise that hides its records; empty where nothing is hidden.
    """
    # Which part is drawn would move with each record: what a guarantee is for is taken whole.
    training = len(samples.train_y) if rules.privacy.guarded else MOST_TRAINING
    samples = samples.at_most(training, MOST_VALIDATION, seed)
    kind = ClassPipeline if task.classified else TargetPipeline
    return kind(task, encoder, rules, samples, seed, key)


def check_task(task: Task, rules: Rules) -> None:
    """Raise ConfigError where a rule is not for such a task."""
    rules.synthesis.check_task(task)
    rules.distill.check_task(task)
    if not task.classified and not rules.similarity.of_targets:
        raise ConfigError(
            f"similarity.name={name_of(rules.similarity)}: for classes; a task of {task.kind} has "
            "class_sketch and sketch_mean"
        )


def check_packet(
    task: Task, rules: Rules, samples: int, encoder: Encoder, references: int | None = None
) -> int:
    """Return the features of a node's packets.  Raises ConfigError where no packet can be had.

    samples: training samples of the largest node.  references: inputs of the public set.
    """
    samples = rules.privacy.told_samples(samples)
    size, classes = int(np.prod(task.shape)), task.classes
    if not task.classified:
        d = target_dimensions(
            rules.distill.statistics(), samples, encoder.dimensions, classes, encoder.least
        )
        check_target_size(rules.distill.statistics(), d, classes)
        return d
    d = rules.distill.dimensions(samples, encoder.dimensions, classes, size, encoder.least)
    rules.distill.check_size(d, classes, size, references, samples)
    return d
