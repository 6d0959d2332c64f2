"""What a node does with its own data: distil it, and synthesize what others sent.

Pure of time and of the mesh: the same samples and the same packets give the same result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.distill import Evidence, Source, payload_statistics
from qsynth.encoder import Encoder
from qsynth.model.outputs import is_lost, network_outputs
from qsynth.packet import class_statistics, redrawn
from qsynth.pipeline.batches import all_told
from qsynth.pipeline.offset import Offset, rows_by_input
from qsynth.pipeline.predictor import Predictor, fit_product
from qsynth.pipeline.publication import Publication, Rules, Samples
from qsynth.pipeline.teach import Lesson
from qsynth.privacy import bound
from qsynth.similarity import fingerprint, fingerprint_size, split_half, whole_from_half
from qsynth.synthesis import OwnData, OwnEvidence, Synthesis
from qsynth.synthesis.analytic_head import with_copies
from qsynth.synthesis.invariance import copies
from qsynth.types import Fingerprint, Floats, Floats32, NodeId, Task


class ClassPipeline:
    """Turn own samples and admitted packets into publications, heads and teachings."""

    def __init__(
        self,
        task: Task,
        encoder: Encoder,
        rules: Rules,
        samples: Samples,
        seed: int,
        key: bytes = b"",
    ) -> None:
        rules.synthesis.check_task(task)
        rules.distill.check_task(task)
        self.task, self.encoder, self.rules, self.samples = task, encoder, rules, samples
        self.seed, self.key = seed, bound(key, encoder.digest)
        # Exact packets, and whatever else leaves, tell of these samples alone.
        told, samples_told = all_told(rules.privacy, rules.distill, samples.train_y, samples.ends)
        self._told = told
        # What leaves may have fewer features than the head, which tells nobody of the samples.
        self.d, own_d = (
            rules.distill.dimensions(
                count, encoder.dimensions, task.classes, math.prod(task.shape), encoder.least
            )
            for count in (rules.privacy.told_samples(samples_told), len(samples.train_y))
        )
        # Few features route a packet of model knowledge: the head of own evidence has its own.
        whole = rules.distill.statistics() is rules.distill
        own_d = own_d if whole else max(len(samples.train_y) // 2, encoder.least)
        self.head_d = min(rules.synthesis.d or max(own_d, 4), encoder.dimensions)
        own = OwnEvidence.from_samples(
            encoder.encode_kept(samples.train_x), samples.train_y, task.classes, seed
        )
        self.own = with_copies(own, self.head_d, self._views, task.invariances)
        self.own_data = OwnData(
            task,
            encoder,
            self.own,
            samples.train_x,
            self.head_d,
            self.alone,
            samples.unlabelled_x,
            samples.reference_x,
        )
        self._alone: Synthesis | None = None
        self._rows = rows_by_input(samples.train_x) if self.summed else {}
        self._solved: tuple[tuple[tuple[NodeId, int], ...], Synthesis] | None = None

    def _views(self, kind: str) -> list[Floats32]:
        """Return the features of the own samples, changed in a way that leaves their labels."""
        return [self.encoder.encode_kept(copy) for copy in copies(self.samples.train_x, kind)]

    @property
    def summed(self) -> bool:
        """Return whether the network learns what the head's scores lack."""
        return self.rules.synthesis.summed

    @property
    def follows_network(self) -> bool:
        """Return whether a publication says something of the network, and so changes with it."""
        return self.rules.distill.follows_network

    def distil(self, network: nn.Module | None = None, batches: int | None = None) -> Publication:
        """Return the node's own publication: the author's own evidence and nothing else.

        network: for rules that follow it; without it, what the packet says of the data.  batches:
        of the samples that it tells of, under a guarantee; None: all.
        """
        privacy, classes = self.rules.privacy, self.task.classes
        rule, inputs, labels = (
            self.rules.distill.statistics(),
            self.samples.train_x,
            self.own.labels,
        )
        # Which copies help is chosen by own records: under a guarantee none is sent.
        views = [self.own.features, *(() if privacy.guarded else self.own.copies)]
        ends, told = self.samples.ends, self._told
        if batches is not None:
            ends = ends[:batches]
            told = slice(0, ends[-1])
        views, inputs, labels = [view[told] for view in views], inputs[told], labels[told]
        given = privacy.class_contribution(rule, self.d, views, inputs, labels, classes, self.key)
        if given is not None:
            size = fingerprint_size(self.rules.similarity, classes)
            return Publication.of_cohort(given, size)
        payload, releases = privacy.class_payload(
            rule, self.d, views, inputs, labels, classes, self.key, ends
        )
        payload |= self.rules.distill.further(
            Source(
                self.task,
                inputs,
                labels,
                None if network is None else partial(_answer, network),
                self.samples.reference_x,
                payload,
                np.random.default_rng([self.seed, 18]),
            )
        )
        statistics = payload_statistics(payload)
        own = fingerprint(self.rules.similarity, statistics.counts, statistics.sums)
        support = int(statistics.counts.sum())
        return Publication(payload, own, support, self._query(own), releases=releases)

    def _query(self, own: Fingerprint) -> Fingerprint:
        least = self.rules.similarity.query_support
        if least is None:
            return own
        labels, classes = self.own.labels[self._told], self.task.classes
        kept = np.bincount(labels, minlength=classes)[labels] >= least
        features = self.own.mean_features(self.d)[self._told]
        said = class_statistics(features[kept], labels[kept], classes)
        return fingerprint(self.rules.similarity, said.counts, said.sums)

    def self_similarity(self) -> float:
        """Return how alike another node of the same data would look, in [-1, 1].

        From the likeness of two halves of one's own samples, by the Spearman-Brown formula.  Where
        packets are noisy, from what such a packet says: its noise makes the same data look apart.
        """
        if self.rules.privacy.pooled:
            return 1.0  # the sum will tell
        if self.rules.privacy.guarded:
            told = payload_statistics(self.distil().payload)
            rng = np.random.default_rng([self.seed, 5])
            prints = [
                fingerprint(self.rules.similarity, drawn.counts, drawn.sums)
                for drawn in (redrawn(told, rng), redrawn(told, rng))
            ]
            return self.alike(*prints)
        half = split_half(
            self.rules.similarity,
            self.own.mean_features(self.d),
            self.own.labels,
            self.task.classes,
            np.random.default_rng([self.seed, 5]),
        )
        return whole_from_half(half)

    def alike(self, one: Fingerprint, other: Fingerprint) -> float:
        """Return how alike two nodes are, in [-1, 1]."""
        return self.rules.similarity.likeness(one, other)

    def synthesize(
        self,
        packets: Mapping[NodeId, Evidence],
        versions: Mapping[NodeId, int],
        alike: Mapping[NodeId, float] | None = None,
    ) -> tuple[Synthesis, bool]:
        """Return the synthesis of these packets, and whether it is a new one.

        versions: sequence number of each packet; the same set is not solved again.  alike: how
        alike each author is, as a share of how alike a node of the same data would look.
        """
        key = tuple(sorted(versions.items()))
        if self._solved is not None and self._solved[0] == key:
            return self._solved[1], False
        # A noisy fingerprint is no reason to believe a noisy packet: own evidence decides alone.
        trusted = {} if self.rules.privacy.guarded else alike or {}
        made = self.rules.synthesis.synthesize(self.own_data, packets, trusted)
        self._solved = (key, made)
        return made, True

    def alone(self) -> Synthesis:
        """Return the synthesis of own evidence alone."""
        if self._alone is None:
            self._alone = self.rules.synthesis.alone(self.own_data)
        return self._alone

    def teaching(
        self, synthesis: Synthesis, packets: Mapping[NodeId, Evidence], period: int
    ) -> Lesson | None:
        """Return what the network learns from for one period, or None where nothing is taught."""
        rng = np.random.default_rng([self.seed, 6, period])
        offset = self.offset(synthesis) if self.summed else None
        return self.rules.synthesis.lesson(self.own_data, synthesis, packets, rng, offset)

    def offset(self, synthesis: Synthesis) -> Offset:
        """Return what the network's logits are added to while it trains."""
        log_prior = self.network_log_prior(synthesis)
        return Offset(synthesis, log_prior, self.encoder, self.own, self._rows)

    def head_logits(self, synthesis: Synthesis, inputs: Floats32) -> Tensor:
        """Return (n, C): what the head adds to the network's logits where they are summed."""
        features = self.encoder.encode(inputs, synthesis.head.dimensions)
        return torch.from_numpy(
            synthesis.head.scores(features) + self.network_log_prior(synthesis)
        ).float()

    def network_log_prior(self, synthesis: Synthesis) -> Floats:
        """Return the (C,) log label shares that the network's answers follow."""
        return self.rules.synthesis.network_log_prior(synthesis)

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
        outputs = network_outputs(network, torch.from_numpy(inputs))
        logits = outputs.double().numpy()
        predictor.lost = is_lost(network, outputs)
        features = self.encoder.encode_kept(inputs)[:, : synthesis.head.dimensions]
        scores = synthesis.head.scores(features)
        learned = self.network_log_prior(synthesis)
        balanced = self.rules.synthesis.balanced
        wanted = np.zeros_like(learned) if balanced else synthesis.log_prior
        weight, temperature = 1.0, 1.0
        if not predictor.lost:
            weight, temperature = fit_product(
                logits, scores, labels, wanted, head_weight, learned, self.summed, balanced
            )
        predictor.set_head(
            synthesis.head, synthesis.log_prior, weight, temperature, learned, self.summed
        )
        return predictor

    def losses(self, predictor: Predictor) -> Floats:
        """Return (n,) nats that a predictor loses on each validation sample.

        Of no sample where the network has learned what this head lacks: it answers with no other.
        """
        if self.summed or not len(self.samples.validation_y):
            return np.zeros(0)
        inputs = self.samples.validation_x
        logits = network_outputs(predictor.network, torch.from_numpy(inputs))
        with torch.no_grad():
            scores = predictor.scores_of(torch.from_numpy(self.encoder.encode_kept(inputs)))
            logs = predictor.combine(logits, scores, "own").double().numpy()
        rows = np.arange(len(logs))
        lost: Floats = -logs[rows, self.samples.validation_y]
        return lost

    def validation_score(self, network: nn.Module, synthesis: Synthesis) -> float | None:
        """Return the network's accuracy on validation samples; None where it is lost."""
        samples = self.samples
        logits = network_outputs(network, torch.from_numpy(samples.validation_x))
        if not len(samples.validation_y) or is_lost(network, logits):
            return None
        if self.summed:
            logits = logits + self.head_logits(synthesis, samples.validation_x)
        return float(np.mean(logits.argmax(dim=1).numpy() == samples.validation_y))


def _answer(network: nn.Module, inputs: Floats32) -> Floats:
    """Return a network's (n, C) logits of (n, *shape) inputs."""
    made: Floats = network_outputs(network, torch.from_numpy(inputs)).double().numpy()
    return made
