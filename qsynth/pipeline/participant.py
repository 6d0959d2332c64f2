"""One node's learning: its pipeline, its port to the mesh, and what it records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import nn

from qsynth.distill import Evidence
from qsynth.model.outputs import is_lost, network_outputs
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.pipeline.predictor import Predictor, harmed
from qsynth.pipeline.publication import Publication
from qsynth.pipeline.target_pipeline import TargetPipeline
from qsynth.pipeline.teach import Lesson
from qsynth.privacy import Budget
from qsynth.process_memory import release_now_and_then
from qsynth.synthesis import Synthesis
from qsynth.trust import Admitted
from qsynth.types import Fingerprint, NodeId

LEAST_SAME = 0.5  # of a node's own halves, from which their likeness says anything
MOST_JUDGED = 1024  # authors whose usefulness is kept


class Port(Protocol):
    """Where a node's learning meets the mesh."""

    def end_period(
        self, period: int, publication: Publication | None, same: float
    ) -> Mapping[NodeId, Admitted]:
        """Hand over a publication; return the admitted packets that have arrived by now."""

    def note(self, records: list[dict[str, Any]]) -> None:
        """Record what the learner has to say."""

    def learned(
        self, held: Mapping[NodeId, int], used: Collection[NodeId], likelihood: float
    ) -> None:
        """Note how a new synthesis went: authors held, authors that count, likelihood."""


class Lonely:
    """A port to nowhere: the same pipeline with no peers."""

    def end_period(
        self, period: int, publication: Publication | None, same: float
    ) -> Mapping[NodeId, Admitted]:
        """Return nothing."""
        return {}

    def note(self, records: list[dict[str, Any]]) -> None:
        """Record nothing."""

    def learned(
        self, held: Mapping[NodeId, int], used: Collection[NodeId], likelihood: float
    ) -> None:
        """Tell nobody."""


@dataclass(frozen=True)
class Usefulness:
    """What has come of an author's packets.

    tried, counted: syntheses that it was held in, and that took it.  gain: nats a sample that it
    brought to own samples on top of those before it, or would have, when it was last tried.
    alike: as a share of how alike the same data would look.
    """

    tried: int = 0
    counted: int = 0
    gain: float = 0.0
    alike: float = 0.0


class Participant:
    """Do what the end of a period asks for: distil, exchange, synthesize, teach.

    later: gives the pipeline of other samples in a period in which the node's data have changed.
    silent: publish nothing.  permits: whether a publication may leave; one that may not still says
    whom to look for.  budget: what releases are counted against; one that it does not take says
    nothing at all, and the packet before it stays.
    """

    def __init__(
        self,
        pipeline: ClassPipeline | TargetPipeline,
        port: Port,
        later: Callable[[int], ClassPipeline | TargetPipeline | None] = lambda _: None,
        silent: bool = False,
        permits: Callable[[Publication], bool] = lambda _: True,
        budget: Budget | None = None,
    ) -> None:
        self.pipeline, self.port, self.later, self.silent = pipeline, port, later, silent
        self.permits = permits
        self.budget = budget or Budget(pipeline.rules.privacy, None)
        self.synthesis: Synthesis | None = None
        self.packets: Mapping[NodeId, Evidence] = {}
        self.used: set[NodeId] = set()
        self.usefulness: dict[NodeId, Usefulness] = {}
        self.fell_back = False  # the newest predictor is that of own evidence alone
        self.lost = False  # the newest network's answers are no finite numbers
        self._publication: Publication | None = None
        self._unshared = self._spent = False
        self._earlier: Publication | None = None  # what is renewed once the budget is spent
        self._told: dict[str, Any] = {}
        self._same = 0.0

    def exchange(self, period: int, network: nn.Module) -> Lesson | None:
        """Return the teaching for the next period."""
        changed = self.later(period)
        if changed is not None:
            self.change(changed)
        if self._publication is None:
            # What the data say is the same in every period.
            self._publication = self.pipeline.distil()
            self._same = self.pipeline.self_similarity()
        told: Publication | None = self._publication
        if self.pipeline.follows_network:
            # An untrained network has nothing to say.
            lost = period > 0 and self._is_lost(network)
            told = self.pipeline.distil(network) if period > 0 and not lost else None
        told = None if self.silent else told
        told = self._paid(told, period)
        if told is not None and not self.permits(told):
            told = replace(told, shared=False)
            if not self._unshared:
                self.port.note([{"event": "unshared", "period": period}])
        self._unshared = told is not None and not told.shared
        admitted = self.port.end_period(period, told, self._same)
        self.packets = {author: entry.evidence for author, entry in admitted.items()}
        versions = {author: entry.packet.sequence for author, entry in admitted.items()}
        alike = {author: self.alike(entry.fingerprint) for author, entry in admitted.items()}
        self.synthesis, new = self.pipeline.synthesize(self.packets, versions, alike)
        progress = self._progress(period, network)
        # A node that has trained exchanges every other second, for weeks.
        records = [progress] if progress != self._told else []
        self._told = progress
        if new:
            self.used.update(self.synthesis.authors)
            self.port.learned(versions, self.synthesis.authors, self.synthesis.likelihood)
            self._judge(alike)
            chosen = [author.hex() for author in self.synthesis.authors]
            gains = {a.hex(): round(gain, 5) for a, gain in self.synthesis.gains.items()}
            records.append(
                {
                    "event": "synthesis",
                    "period": period,
                    "held": len(admitted),
                    "used": chosen,
                    "likelihood": self.synthesis.likelihood,
                    "gains": gains,
                }
                | ({"unasked": self.synthesis.unasked} if self.synthesis.unasked else {})
            )
        self.port.note(records)
        teaching = self.pipeline.teaching(self.synthesis, self.packets, period)
        release_now_and_then()
        return teaching

    def change(self, pipeline: ClassPipeline | TargetPipeline) -> None:
        """Learn from now on from other samples, of which a pipeline is made."""
        self.pipeline, self._publication, self.synthesis = pipeline, None, None
        self._spent = False

    def _paid(self, told: Publication | None, period: int) -> Publication | None:
        """Return a publication whose release is in the budget, or None: its query tells, too."""
        if told is not None and told.contribution is not None:
            told.contribution.budget = self.budget  # paid for when it leaves
        if told is None or self.budget.takes(told.releases):
            return told
        if not self._spent:
            self._spent, self._earlier = True, self._paid_before()
            self.port.note([{"event": "privacy_spent", "period": period}])
        return self._earlier

    def _paid_before(self) -> Publication | None:
        """Return the newest publication of fewer batches that was paid for: renewed, it is free."""
        for batches in range(len(self.pipeline.samples.ends) - 1, 0, -1):
            earlier = self.pipeline.distil(batches=batches)
            if self.budget.paid(earlier.releases):
                return earlier
        return None

    def _is_lost(self, network: nn.Module) -> bool:
        inputs = torch.from_numpy(self.pipeline.samples.validation_x)
        return is_lost(network, network_outputs(network, inputs))

    def alike(self, other: Fingerprint) -> float:
        """Return how alike an author is, as a share of how alike the same data would look.

        A node whose own halves hardly look alike cannot say whose data are like its own.
        """
        if self._publication is None or self._same <= 0.0:
            return 0.0
        return self.pipeline.alike(self._publication.query, other) / max(self._same, LEAST_SAME)

    def synthesized(self) -> Synthesis:
        """Return the newest synthesis; of own evidence alone before the first exchange."""
        if self.synthesis is None:
            self.synthesis, _ = self.pipeline.synthesize({}, {})
        return self.synthesis

    def predictor(self, network: nn.Module) -> Predictor:
        """Return the predictor of the network and the newest head.

        Where validation samples are sure that others do harm, that of own evidence alone.
        """
        made = self.pipeline.predictor(network, self.synthesized())
        self.fell_back = False
        if self.synthesized().authors:
            alone = self.pipeline.predictor(network, self.pipeline.alone())
            self.fell_back = harmed(self.pipeline.losses(made), self.pipeline.losses(alone))
            made = alone if self.fell_back else made
        if made.lost and not self.lost:
            self.port.note([{"event": "network_lost"}])
        self.lost = made.lost
        return made

    @property
    def validation(self) -> float | None:
        """Return the network's newest figure on validation samples; None where there is none."""
        score: float | None = self._told.get("validation_accuracy")
        return score

    def _judge(self, alike: Mapping[NodeId, float]) -> None:
        """Keep the record of whose packets were tried, counted, and brought how much."""
        assert self.synthesis is not None
        counted = set(self.synthesis.authors)
        for author in sorted(self.packets):
            known = self.usefulness.get(author, Usefulness())
            gain = self.synthesis.gains.get(author)
            self.usefulness[author] = Usefulness(
                known.tried + 1,
                known.counted + (author in counted),
                known.gain if gain is None else gain,
                alike.get(author, 0.0),
            )
        while len(self.usefulness) > MOST_JUDGED:
            del self.usefulness[next(iter(self.usefulness))]

    def _progress(self, period: int, network: nn.Module) -> dict[str, Any]:
        accuracy = self.pipeline.validation_score(network, self.synthesized())
        return {"event": "period", "period": period, "validation_accuracy": accuracy}
