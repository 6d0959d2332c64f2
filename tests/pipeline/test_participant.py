"""What a node's learning remembers of its peers, and when it does without them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from qsynth.distill.analytic import Analytic
from qsynth.encoder import make_encoder
from qsynth.packet import Statistics
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.pipeline.participant import Participant
from qsynth.pipeline.publication import Rules, Samples
from qsynth.similarity.class_sketch import ClassSketch
from qsynth.synthesis.analytic_head import AnalyticHead
from qsynth.synthesis.head_rule import Teach
from tests.synthesis.test_predictor import SMALL

NO_TEACHING = Teach(inputs="none")


def samples(rng: np.random.Generator, count: int) -> tuple:
    y = np.arange(count) % 3
    x = rng.random((count, 1, 8, 8)).astype(np.float32)
    for c in range(3):
        x[y == c, :, 2 * c : 2 * c + 3] += 0.15
    return np.clip(x, 0.0, 1.0), y


def pipeline(
    task, seed: int, gate: str = "greedy", swapped: bool = False, count: int = 60
) -> ClassPipeline:
    rng = np.random.default_rng(seed)
    train, validation = samples(rng, count), samples(rng, 60)
    if swapped:
        train = train[0], (train[1] + 1) % 3
    head = AnalyticHead(gate=gate, teach=NO_TEACHING)
    rules = Rules(Analytic(d=16), ClassSketch(sketch_d=8), head)
    own = Samples(*train, *validation)
    return ClassPipeline(task, make_encoder(SMALL, task), rules, own, seed)


class Handing:
    """A port that hands over what it has been given."""

    def __init__(self, publications) -> None:
        self.admitted, self.notes = publications, []

    def end_period(self, period, publication, same):
        return self.admitted

    def note(self, records):
        self.notes += records

    def learned(self, held, used, likelihood): ...


def admitted(task, made: ClassPipeline, sequence: int = 1):
    publication = made.distil()
    from qsynth.distill import read_evidence

    packet = SimpleNamespace(sequence=sequence)
    return SimpleNamespace(
        packet=packet,
        evidence=read_evidence(publication.payload),
        fingerprint=publication.fingerprint,
    )


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def test_whose_packets_counted_and_brought_what_is_kept(task) -> None:
    port = Handing(
        {
            b"a" * 32: admitted(task, pipeline(task, 1)),
            b"b" * 32: admitted(task, pipeline(task, 2, swapped=True)),
        }
    )
    mine = Participant(pipeline(task, 0, count=30), port)
    mine.exchange(0, network())
    like, liar = mine.usefulness[b"a" * 32], mine.usefulness[b"b" * 32]
    assert (like.tried, like.counted) == (1, 1)
    assert (liar.tried, liar.counted) == (1, 0)
    assert like.gain > liar.gain
    assert liar.gain < 0.0
    (told,) = [r for r in port.notes if r["event"] == "synthesis"]
    assert set(told["gains"]) == {(b"a" * 32).hex(), (b"b" * 32).hex()}
    mine.exchange(1, network())  # nothing new: nothing is tried again
    assert mine.usefulness[b"a" * 32].tried == 1


def test_a_node_that_is_surely_harmed_answers_as_it_would_alone(task) -> None:
    liars = {
        bytes([n]) * 32: admitted(task, pipeline(task, 10 + n, swapped=True)) for n in range(4)
    }
    mine = Participant(pipeline(task, 0, gate="none"), Handing(liars))
    mine.exchange(0, network())
    assert mine.synthesized().authors
    made = mine.predictor(network())
    assert mine.fell_back
    alone = mine.pipeline.predictor(network(), mine.pipeline.alone())
    for key, value in alone.state_dict().items():
        assert torch.equal(made.state_dict()[key], value)
    gated = replace(mine.pipeline.rules.synthesis, gate="greedy")
    mine.pipeline.rules = replace(mine.pipeline.rules, synthesis=gated)
    mine.pipeline._solved = None
    mine.exchange(1, network())
    mine.predictor(network())
    assert not mine.fell_back


def test_who_helps_is_kept(task) -> None:
    helpers = {bytes([n]) * 32: admitted(task, pipeline(task, 20 + n)) for n in range(3)}
    mine = Participant(pipeline(task, 0, count=30), Handing(helpers))
    mine.exchange(0, network())
    mine.predictor(network())
    assert mine.synthesized().authors
    assert not mine.fell_back
    training = network().train()
    mine.predictor(training)
    assert training.training  # looking at a network leaves its mode


def test_statistics_are_what_a_packet_carries(task) -> None:
    entry = admitted(task, pipeline(task, 1))
    assert isinstance(entry.evidence.features, Statistics)
