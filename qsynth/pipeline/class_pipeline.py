"""What a node does with its own data: distil it, and synthesize what others sent.

Pure of time and of the mesh: the same samples and the same packets give the same result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.distill import (
    Evidence,
    check_layout,
    dimensions,
    distil,
    leaves_of,
    model_arrays,
    mosaic_arrays,
    payload_statistics,
    statistics_rule,
)
from qsynth.distill.config import Analytic, ModelRule
from qsynth.distill.config import Mosaic as MosaicRule
from qsynth.encoder import Encoder
from qsynth.model.outputs import is_lost, network_outputs
from qsynth.packet import Statistics, class_statistics, merge
from qsynth.pipeline.decode import answers_of, image_statistics_of, images_of, logits_of
from qsynth.pipeline.publication import Publication, Rules, Samples
from qsynth.similarity import fingerprint, split_half, whole_from_half
from qsynth.synthesis import (
    Predictor,
    Synthesis,
    class_kd,
    make_pool,
    reference_kd,
    replay,
    synthesize,
)
from qsynth.synthesis.analytic_head import OwnEvidence, with_copies
from qsynth.synthesis.config import AnalyticHead, ClassKd, ReferenceKd, Replay
from qsynth.synthesis.invariance import copies
from qsynth.synthesis.offset import Offset, rows_by_input
from qsynth.synthesis.predictor import fit_product
from qsynth.synthesis.teach import Lesson, check_teaching, offset_alone
from qsynth.types import Fingerprint, Floats, Floats32, NodeId, Task


class ClassPipeline:
    """Turn own samples and admitted packets into publications, heads and teachings."""

    def __init__(
        self, task: Task, encoder: Encoder, rules: Rules, samples: Samples, seed: int
    ) -> None:
        check_teaching(rules.synthesis, task)
        check_layout(rules.distill, task)
        self.task, self.encoder, self.rules, self.samples = task, encoder, rules, samples
        self.seed = seed
        self.d = dimensions(
            rules.distill,
            len(samples.train_y),
            encoder.dimensions,
            task.classes,
            math.prod(task.shape),
        )
        # Few features route a packet of model knowledge: the head of own evidence has its own.
        own_d = self.d if isinstance(rules.distill, Analytic) else len(samples.train_y) // 2
        self.head_d = min(rules.synthesis.d or max(own_d, 4), encoder.dimensions)
        own = OwnEvidence.from_samples(
            encoder.encode(samples.train_x), samples.train_y, task.classes, seed
        )
        self.own = with_copies(own, self.head_d, self._views, task.invariances)
        self._own_inputs: Statistics | None = None
        self._alone: Synthesis | None = None
        self._rows = rows_by_input(samples.train_x) if self.summed else {}
        self._solved: tuple[tuple[tuple[NodeId, int], ...], Synthesis] | None = None

    def _views(self, kind: str) -> list[Floats32]:
        """Return the features of the own samples, changed in a way that leaves their labels."""
        return [self.encoder.encode(copy) for copy in copies(self.samples.train_x, kind)]

    @property
    def summed(self) -> bool:
        """Return whether the network learns what the head's scores lack."""
        return getattr(self.rules.synthesis, "network", "apart") != "apart"

    @property
    def follows_network(self) -> bool:
        """Return whether a publication says something of the network, and so changes with it."""
        return isinstance(self.rules.distill, ModelRule)

    def distil(self, network: nn.Module | None = None) -> Publication:
        """Return the node's own publication: the author's own evidence and nothing else.

        network: for rules that follow it; without it, what the packet says of the data.
        """
        payload = distil(
            statistics_rule(self.rules.distill),
            self.d,
            self.own.features,
            self.samples.train_x,
            self.own.labels,
            self.task.classes,
            self.own.copies,
        )
        if self.follows_network and network is not None:
            payload |= model_arrays(
                self.rules.distill,
                lambda inputs: network_outputs(network, torch.from_numpy(inputs)).double().numpy(),
                self.samples.train_x,
                self.own.labels,
                self.task.classes,
                self.samples.reference_x,
            )
        if isinstance(self.rules.distill, MosaicRule):
            span = self.task.high - self.task.low
            unit = ((self.samples.train_x - self.task.low) / span).astype(np.float32)
            rng = np.random.default_rng([self.seed, 18])
            payload |= mosaic_arrays(
                self.rules.distill, payload, unit, self.own.labels, self.task.classes, rng
            )
        statistics = payload_statistics(payload)
        own = fingerprint(self.rules.similarity, statistics.counts, statistics.sums)
        return Publication(payload, own, int(statistics.counts.sum()), self._query(own))

    def _query(self, own: Fingerprint) -> Fingerprint:
        least = self.rules.similarity.query_support
        if least is None:
            return own
        labels, classes = self.own.labels, self.task.classes
        kept = np.bincount(labels, minlength=classes)[labels] >= least
        said = class_statistics(self.own.mean_features(self.d)[kept], labels[kept], classes)
        return fingerprint(self.rules.similarity, said.counts, said.sums)

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
        if isinstance(self.rules.synthesis, Replay):
            asked = self.rules.synthesis
            rule = AnalyticHead(gate=asked.gate, gate_s=asked.gate_s)
            statistics = image_statistics_of(packets, self.task, self.encoder, self.head_d)
            made = synthesize(rule, self.own, self.head_d, statistics, alike)
        elif isinstance(self.rules.synthesis, AnalyticHead):
            features = {author: evidence.features for author, evidence in packets.items()}
            made = synthesize(
                self.rules.synthesis, self.own, self.head_d, features, alike, leaves_of(packets)
            )
        else:
            made = replace(self.alone(), authors=self._agreeing(packets))
        self._solved = (key, made)
        return made, True

    def alone(self) -> Synthesis:
        """Return the synthesis of own evidence alone."""
        if self._alone is None:
            rule = self.rules.synthesis
            rule = rule if isinstance(rule, AnalyticHead) else AnalyticHead()
            self._alone = synthesize(rule, self.own, self.head_d, {})
        return self._alone

    def _agreeing(self, packets: Mapping[NodeId, Evidence]) -> tuple[NodeId, ...]:
        """Return the authors whose networks teach this one."""
        if isinstance(self.rules.synthesis, ClassKd):
            counts = np.bincount(self.own.labels, minlength=self.task.classes).astype(np.float64)
            support = {author: packet.features for author, packet in packets.items()}
            return class_kd.agreeing(counts, logits_of(packets), support)
        reference = self.samples.reference_x
        if reference is None:
            return ()
        head = self.alone().head
        own = head.scores(self.encoder.encode(reference, head.dimensions))
        return reference_kd.agreeing(answers_of(packets, reference), own)

    def teaching(
        self, synthesis: Synthesis, packets: Mapping[NodeId, Evidence], period: int
    ) -> Lesson | None:
        """Return inputs labelled by the head for one period, or None where nothing is taught."""
        teach = self.rules.synthesis.teach
        rng = np.random.default_rng([self.seed, 6, period])
        if isinstance(self.rules.synthesis, Replay):
            received = images_of(packets, self.task)
            return replay.replay_lesson(
                teach,
                [received[author] for author in synthesis.authors],
                synthesis.head,
                synthesis.log_prior,
                self.encoder,
                self.task,
                rng,
            )
        if not isinstance(self.rules.synthesis, AnalyticHead):
            return self._lesson(synthesis.authors, packets, rng)
        log_prior = self.network_log_prior(synthesis)
        offset = None
        if self.summed:
            offset = self.offset(synthesis)
            if self.rules.synthesis.network == "boost":
                return offset_alone(offset)
        inputs = self._inputs(synthesis, packets) if teach.inputs == "generated" else None
        pool = make_pool(
            teach,
            synthesis.head,
            log_prior,
            self.encoder,
            self.task,
            self._teaching_inputs(),
            inputs,
            rng,
            offset,
        )
        return offset_alone(offset) if pool is None and offset is not None else pool

    def _lesson(
        self,
        authors: tuple[NodeId, ...],
        packets: Mapping[NodeId, Evidence],
        rng: np.random.Generator,
    ) -> Lesson | None:
        """Return what others' networks teach, or None where nobody does."""
        config = self.rules.synthesis
        if not authors or config.teach.weight == 0.0:
            return None
        if isinstance(config, ReferenceKd):
            assert self.samples.reference_x is not None
            answers = answers_of(packets, self.samples.reference_x)
            return reference_kd.reference_lesson(
                config.teach, authors, answers, self.samples.reference_x
            )
        support = {author: packet.features for author, packet in packets.items()}
        classes, logits = self.task.classes, logits_of(packets)
        targets = class_kd.class_targets(classes, authors, logits, support)
        return class_kd.class_lesson(
            config.teach, targets, self.samples.train_x, self.own.labels, self.task, rng
        )

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
        teach = self.rules.synthesis.teach
        rule = self.rules.synthesis
        taught = isinstance(rule, AnalyticHead) and teach.inputs != "none"
        taught = taught and rule.network != "boost"
        if not taught or teach.weight == 0.0 or teach.prior == "own":
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
        outputs = network_outputs(network, torch.from_numpy(inputs))
        logits = outputs.double().numpy()
        predictor.lost = is_lost(network, outputs)
        scores = synthesis.head.scores(self.encoder.encode(inputs, synthesis.head.dimensions))
        learned = self.network_log_prior(synthesis)
        balanced = getattr(self.rules.synthesis, "objective", "own") == "balanced"
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
            scores = predictor.head_scores(torch.from_numpy(inputs))
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

    def _inputs(self, synthesis: Synthesis, packets: Mapping[NodeId, Evidence]) -> Statistics:
        if self._own_inputs is None:
            flat = self.samples.train_x.reshape(len(self.samples.train_y), -1)
            self._own_inputs = class_statistics(flat, self.samples.train_y, self.task.classes)
        sent = [packets[author].inputs for author in synthesis.authors]
        return merge([self._own_inputs, *(part for part in sent if part is not None)])
