"""Arms that exchange weights: FedAvg and its variants, gossip averaging, PENS, FedProto.

Each node takes the same optimizer steps as in every other arm; a round is a period.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from qsynth.errors import ConfigError
from qsynth.rivals.messengers import Messengers
from qsynth.rivals.replica import Replica, State, average, state_bytes
from qsynth.training.plan import RunPlan

FINETUNE_SHARE = 0.2  # of the steps, at the end, without communication
DEGREE = 3  # neighbours of a node in the gossip graph
PENS_SAMPLED, PENS_KEPT = 6, 2  # models a node looks at in a round, and averages
PENS_FIRST = 0.5  # share of the rounds in which PENS looks for its peers
PROTO_WEIGHT = 1.0  # lambda of FedProto
MIXED = ("fedproto", "sqmd")  # arms of networks that may differ

Round = Callable[[int, list[Replica]], float]
Watch = Callable[[int, list[Replica], float], None]


def run_weights(plan: RunPlan, arm: str, watch: Watch) -> None:
    """Train a fleet that exchanges weights.

    watch: called after each round with its number, the replicas and the bytes a node has sent.
    Raises ConfigError where the fleet has several architectures.
    """
    if arm in MIXED:
        replicas = [Replica(plan, node, node.seed) for node in plan.nodes]
    else:
        check_architectures(plan, arm)
        replicas = [Replica(plan, node, plan.nodes[0].seed) for node in plan.nodes]
    steps = [plan.trainer.period_steps] * (plan.trainer.max_steps // plan.trainer.period_steps)
    if plan.trainer.max_steps % plan.trainer.period_steps:
        steps.append(plan.trainer.max_steps % plan.trainer.period_steps)
    sent = 0.0
    coach: _Prototypes | Messengers | None = None
    if arm == "fedproto":
        check_embeddings([replica.network for replica in replicas])
        coach = _Prototypes(plan)
    elif arm == "sqmd":
        coach = Messengers(plan)
    exchange = rival(plan, arm, len(steps))
    for number, count in enumerate(steps):
        for replica in replicas:
            replica.train(count, coach.loss(replica) if coach else None)
        sent += coach.exchange(replicas) if coach else exchange(number, replicas)
        watch(number + 1, replicas, sent)


def check_architectures(plan: RunPlan, arm: str) -> None:
    """Raise ConfigError unless all nodes have one architecture."""
    kinds = sorted({node.architecture for node in plan.nodes})
    if len(kinds) > 1:
        raise ConfigError(
            f"arms={arm}: exchanges weights and needs one architecture, the fleet has "
            f"{len(kinds)}: {', '.join(kinds)}; set the count of all other node groups to 0"
        )


def check_embeddings(networks: Sequence[nn.Module]) -> None:
    """Raise ConfigError unless the last layers of all networks take embeddings of one length."""
    lengths = sorted({last_linear(network).in_features for network in networks})
    if len(lengths) > 1:
        raise ConfigError(
            "arms=fedproto: needs embeddings of one length before the last layer, the fleet has "
            f"{', '.join(map(str, lengths))}"
        )


def rival(plan: RunPlan, arm: str, rounds: int) -> Round:
    """Return how the weights of an arm travel after each round."""
    everyone = [list(range(len(plan.nodes)))]
    if arm == "fedavg":
        return lambda _, replicas: _average_groups(replicas, everyone)
    if arm == "fedavg_oracle":
        groups = true_groups(plan)
        return lambda _, replicas: _average_groups(replicas, groups)
    if arm == "fedavg_finetuned":
        last = rounds - max(1, round(FINETUNE_SHARE * rounds))
        return lambda number, replicas: (
            _average_groups(replicas, everyone) if number < last else 0.0
        )
    if arm == "gossip":
        graph = regular_graph(len(plan.nodes), DEGREE, plan.seed)
        return lambda _, replicas: _gossip(replicas, graph)
    return Pens(len(plan.nodes), rounds, plan.seed)


def true_groups(plan: RunPlan) -> list[list[int]]:
    """Return the nodes of each true group, liars apart.  Raises ConfigError without groups."""
    groups: dict[tuple[int, bool], list[int]] = {}
    for node in plan.nodes:
        if node.share.group is None:
            raise ConfigError(
                f"partition.name: the arm needs true groups, {plan.name} deals without them"
            )
        groups.setdefault((node.share.group, node.share.honest), []).append(node.index)
    return list(groups.values())


def _average_groups(replicas: list[Replica], groups: Sequence[Sequence[int]]) -> float:
    """FedAvg (McMahan 2017, algorithm 1) within each group: up to a server and down again."""
    for group in groups:
        states = [replicas[index].state() for index in group]
        mean = average(states, [float(len(replicas[index].labels)) for index in group])
        for index in group:
            replicas[index].load(mean)
    return 2.0 * state_bytes(replicas[0].state())


def regular_graph(nodes: int, degree: int, seed: int) -> list[list[int]]:
    """Return each node's neighbours in a connected graph of equal degrees, drawn at random.

    A circle with chords, its places dealt at random; an odd degree needs an even number of nodes.
    """
    degree = min(degree, nodes - 1)
    if degree % 2 and nodes % 2:
        degree -= 1
    places = np.random.default_rng([seed, 12]).permutation(nodes)
    steps = [step for near in range(1, degree // 2 + 1) for step in (near, -near)]
    if degree % 2:
        steps.append(nodes // 2)
    neighbours: list[list[int]] = [[] for _ in range(nodes)]
    for place, node in enumerate(places):
        neighbours[node] = sorted({int(places[(place + step) % nodes]) for step in steps} - {node})
    return neighbours


def _gossip(replicas: list[Replica], graph: list[list[int]]) -> float:
    """D-PSGD (Lian 2017, algorithm 1) with equal weights: average with one's neighbours."""
    states = [replica.state() for replica in replicas]
    for index, neighbours in enumerate(graph):
        mixed = [states[index], *(states[other] for other in neighbours)]
        replicas[index].load(average(mixed, [1.0] * len(mixed)))
    return float(np.mean([len(neighbours) for neighbours in graph])) * state_bytes(states[0])


class Pens:
    """PENS (Onoszko 2021, section 3): gossip with whose models fit one's own data best.

    First: look at some models, average the best.  Then: gossip with those chosen more often than
    by chance.
    """

    def __init__(self, nodes: int, rounds: int, seed: int) -> None:
        self.nodes, self.first = nodes, max(1, round(PENS_FIRST * rounds))
        self.chosen = np.zeros((nodes, nodes))
        self.rng = np.random.default_rng([seed, 13])

    def __call__(self, number: int, replicas: list[Replica]) -> float:
        """Exchange after a round; return the bytes a node has sent."""
        states = [replica.state() for replica in replicas]
        size = state_bytes(states[0])
        if number < self.first:
            sampled = min(PENS_SAMPLED, self.nodes - 1)
            for index, replica in enumerate(replicas):
                others = [o for o in range(self.nodes) if o != index]
                seen = self.rng.choice(others, sampled, replace=False)
                losses = {int(other): replica.loss(states[int(other)]) for other in seen}
                best = sorted(losses, key=lambda other: losses[other])[:PENS_KEPT]
                self.chosen[index, best] += 1
                self._mix(replica, index, best, states)
            return float(sampled * size)
        expected = self.first * min(PENS_SAMPLED, self.nodes - 1) / (self.nodes - 1)
        expected *= PENS_KEPT / min(PENS_SAMPLED, self.nodes - 1)
        for index, replica in enumerate(replicas):
            friends = np.flatnonzero(self.chosen[index] > expected)
            if len(friends):
                kept = self.rng.choice(friends, min(PENS_KEPT, len(friends)), replace=False)
                self._mix(replica, index, [int(k) for k in kept], states)
        return float(PENS_KEPT * size)

    @staticmethod
    def _mix(replica: Replica, index: int, others: list[int], states: list[State]) -> None:
        mixed = [states[index], *(states[other] for other in others)]
        replica.load(average(mixed, [1.0] * len(mixed)))


class _Prototypes:
    """FedProto (Tan 2022, algorithm 1): class means of the last layer's inputs, averaged.

    Weights stay; the local loss pulls each sample's embedding to its class's global prototype.
    """

    def __init__(self, plan: RunPlan) -> None:
        self.classes = plan.data.task.classes
        self.shared: Tensor | None = None
        self.known: Tensor | None = None

    def loss(self, replica: Replica) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return the further loss of a batch, once there are prototypes."""
        shared, known = self.shared, self.known
        if shared is None or known is None:
            return None

        def pull(inputs: Tensor, labels: Tensor) -> Tensor:
            apart = (embed(replica.network, inputs) - shared[labels]).square().mean(dim=1)
            return PROTO_WEIGHT * (apart * known[labels]).mean()

        return pull

    def exchange(self, replicas: list[Replica]) -> float:
        """Average prototypes over the nodes that have the class; return the bytes a node sent."""
        total, counts = 0.0 * embed_mean(replicas[0], self.classes)[0], torch.zeros(self.classes)
        for replica in replicas:
            sums, seen = embed_mean(replica, self.classes)
            total += sums
            counts += seen
        self.shared = total / counts.clamp_min(1.0)[:, None]
        self.known = (counts > 0).float()
        return 2.0 * 4.0 * total.numel()


def last_linear(network: nn.Module) -> nn.Linear:
    """Return the layer that gives the logits.  Raises ConfigError where none is linear."""
    found = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not found:
        raise ConfigError("arms=fedproto: needs networks whose last layer is linear")
    return found[-1]


def embed(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return (n, e) inputs of the network's last layer."""
    kept: list[Tensor] = []
    hook = last_linear(network).register_forward_hook(lambda _, given, __: kept.append(given[0]))
    try:
        network(inputs)
    finally:
        hook.remove()
    return kept[-1]


def embed_mean(replica: Replica, classes: int) -> tuple[Tensor, Tensor]:
    """Return (C, e) sums of class means, zero where a class is missing, and (C,) whether not."""
    with torch.no_grad():
        inner = embed(replica.network, replica.inputs)
    chosen = nn.functional.one_hot(replica.labels, classes).to(inner.dtype)
    counts = chosen.sum(dim=0)
    means = (chosen.T @ inner) / counts.clamp_min(1.0)[:, None]
    return means, (counts > 0).float()
