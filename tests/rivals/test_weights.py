"""Arms that exchange weights: what is averaged, what is refused, what is counted."""

from __future__ import annotations

from pathlib import Path

import networkx
import numpy as np
import pytest
import torch

from qsynth.errors import ConfigError
from qsynth.experiment.build import build
from qsynth.recipe.compose import compose
from qsynth.rivals.heads import run_heads
from qsynth.rivals.replica import average, state_bytes
from qsynth.rivals.weights import Pens, embed, regular_graph, run_weights

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "trainer.max_steps=20",
    "trainer.period_steps=8",
    "placement=simulate",
]
SAME = ["fleet.cnn.count=0", "fleet.linear.count=0", "fleet.mlp.count=4"]


@pytest.fixture(scope="module")
def plan():
    return build(compose([*SMALL, *SAME]).config, Path())


def test_average_weighs_by_samples_and_leaves_whole_numbers() -> None:
    one = {"w": torch.tensor([1.0, 3.0]), "n": torch.tensor(4)}
    other = {"w": torch.tensor([5.0, 3.0]), "n": torch.tensor(9)}
    mean = average([one, other], [3.0, 1.0])
    assert mean["w"].tolist() == [2.0, 3.0]
    assert mean["n"].item() == 4


def test_fedavg_leaves_all_with_one_network_and_counts_bytes(plan) -> None:
    seen = []

    def watch(number, replicas, sent) -> None:
        states = [replica.state() for replica in replicas]
        same = all(torch.equal(states[0][key], s[key]) for s in states for key in states[0])
        seen.append((number, same, sent, state_bytes(states[0])))

    run_weights(plan, "fedavg", watch)
    size = seen[0][3]
    assert [s[:3] for s in seen] == [(1, True, 2 * size), (2, True, 4 * size), (3, True, 6 * size)]


def test_finetuned_networks_part_in_the_end(plan) -> None:
    states = {}

    def watch(number, replicas, sent) -> None:
        states[number] = [replica.state() for replica in replicas]

    run_weights(plan, "fedavg_finetuned", watch)
    key = next(k for k, v in states[1][0].items() if v.is_floating_point() and v.numel() > 9)
    assert torch.equal(states[2][0][key], states[2][1][key])
    assert not torch.equal(states[3][0][key], states[3][1][key])


@pytest.mark.parametrize("arm", ["gossip", "pens", "fedproto"])
def test_every_arm_trains_all_steps(plan, arm: str) -> None:
    seen = []

    def watch(number, replicas, sent) -> None:
        x, y = replicas[0].inputs, replicas[0].labels
        with torch.no_grad():
            seen.append(float(torch.nn.functional.cross_entropy(replicas[0].network(x), y)))
        assert sent > 0

    run_weights(plan, arm, watch)
    assert len(seen) == 3
    assert seen[-1] < seen[0]


def test_mixed_architectures_are_refused_by_name() -> None:
    mixed = build(compose(SMALL).config, Path())
    with pytest.raises(ConfigError, match="one architecture, the fleet has 3: cnn-width8"):
        run_weights(mixed, "fedavg", lambda *_: None)
    with pytest.raises(ConfigError, match="embeddings of one length"):
        run_weights(mixed, "fedproto", lambda *_: None)


@pytest.mark.parametrize(("nodes", "degree"), [(16, 3), (9, 3), (5, 4), (2, 3), (8, 1)])
def test_the_gossip_graph_is_regular_and_connected(nodes: int, degree: int) -> None:
    graph = regular_graph(nodes, degree, 0)
    twin = networkx.Graph([(a, b) for a, near in enumerate(graph) for b in near])
    assert all(a in graph[b] for a, near in enumerate(graph) for b in near)
    assert len({len(near) for near in graph}) == 1
    assert all(node not in near for node, near in enumerate(graph))
    if degree > 1 and nodes > 2:
        assert networkx.is_connected(twin)


def test_pens_finds_whose_models_fit(plan) -> None:
    class Toy:
        def __init__(self, group: int) -> None:
            self.group = group

        def state(self):
            return {"w": torch.tensor([float(self.group)])}

        def load(self, state) -> None:
            pass

        def loss(self, state) -> float:
            return abs(float(state["w"]) - self.group)

    toys = [Toy(index % 2) for index in range(12)]
    pens = Pens(12, 20, 0)
    for number in range(10):
        pens(number, toys)
    expected = 10 * 2 / 11
    for index in range(12):
        friends = np.flatnonzero(pens.chosen[index] > expected)
        assert len(friends)
        assert all(friend % 2 == index % 2 for friend in friends)


def test_embeddings_are_the_last_layers_inputs(plan) -> None:
    from qsynth.model import make_network

    network = make_network(plan.nodes[0].model, plan.data.task).eval()
    inputs = torch.from_numpy(plan.data.train_x[:3])
    last = [m for m in network.modules() if isinstance(m, torch.nn.Linear)][-1]
    assert torch.allclose(last(embed(network, inputs)), network(inputs))


def test_heads_agree_within_their_groups_alone(plan) -> None:
    kept = []
    run_heads(plan, [[0, 2], [1, 3]], lambda n, heads, sent: kept.append((heads, sent)))
    heads, sent = kept[-1]
    assert torch.equal(heads[0], heads[2])
    assert torch.equal(heads[1], heads[3])
    assert not torch.equal(heads[0], heads[1])
    assert sent == 3 * 2 * 2 * heads[0].numel()
