"""SQMD: whom a node learns from, and that its network moves there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qsynth.errors import ConfigError
from qsynth.experiment.build import build
from qsynth.experiment.rival_arms import check_rival
from qsynth.recipe.compose import compose
from qsynth.rivals.messengers import NEIGHBOURS, Messengers, neighbours, public_samples
from qsynth.rivals.replica import Replica
from qsynth.rivals.weights import run_weights

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "trainer.max_steps=20",
    "trainer.period_steps=8",
    "placement=simulate",
    "partition=rotations",
    "partition.samples_per_node=60",
]


@pytest.fixture(scope="module")
def plan():
    return build(compose(SMALL).config, Path())


def test_public_samples_are_nobodys(plan) -> None:
    inputs, labels = public_samples(plan)
    held = np.concatenate([np.concatenate([n.share.train, n.share.validation]) for n in plan.nodes])
    mine = {row.tobytes() for row in plan.data.train_x[held]}
    assert len(inputs) == len(labels) == 256
    # Twice the same digit is twice in the data: hardly ever.
    assert sum(row.tobytes() in mine for row in inputs) <= 2
    crowded = build(compose([*SMALL, "partition=iid"]).config, Path())
    many = build(compose([*SMALL, "partition.samples_per_node=150"]).config, Path())
    check_rival(crowded, "sqmd")
    with pytest.raises(ConfigError, match="held by no node"):
        check_rival(many, "sqmd")


def test_neighbours_are_good_and_similar() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.dirichlet(np.ones(3) * 0.3, size=(2, 40))
    answers = np.stack([0.9 * kinds[n % 2] + 0.1 / 3 for n in range(12)])
    quality = np.arange(12.0)  # the first half is qualified
    chosen = neighbours(answers, quality)
    for node, others in enumerate(chosen):
        assert node not in others
        assert len(others) == NEIGHBOURS
        assert max(others) < 6
        alike = [other for other in others if other % 2 == node % 2]
        assert len(alike) == (2 if node < 6 else 3)


def test_networks_move_to_the_answers_of_their_neighbours(plan, monkeypatch) -> None:
    monkeypatch.setattr("qsynth.rivals.messengers.WEIGHT", 100.0)
    heads = Messengers(plan)
    seen = []

    def watch(number, replicas, sent) -> None:
        with torch.no_grad():
            answers = [torch.softmax(r.network(heads.inputs), 1) for r in replicas]
        spread = float(torch.stack(answers).var(dim=0).mean())
        seen.append((number, sent, spread))

    run_weights(plan, "sqmd", watch)
    assert [entry[0] for entry in seen] == [1, 2, 3]
    assert seen[0][1] == 2 * 2 * 256 * 10
    assert seen[2][1] == 3 * seen[0][1]
    plain = [Replica(plan, node, node.seed) for node in plan.nodes]
    for replica in plain:
        replica.train(20)
    with torch.no_grad():
        answers = [torch.softmax(r.network(heads.inputs), 1) for r in plain]
    assert seen[2][2] < 0.8 * float(torch.stack(answers).var(dim=0).mean())
