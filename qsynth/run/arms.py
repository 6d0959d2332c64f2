"""The arms of a comparison: one recipe, the same seeds and optimizer steps, other company.

An arm is a name, what it shows, and a change of the run's config.  `NAME_ungated` is a mesh arm
without the synthesis gate.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qsynth.data import DataSet
from qsynth.errors import ConfigError, RunError, nearest_spelling
from qsynth.peers.config import AllPeers, Central, Dissimilar, NoPeers, Oracle, RandomPeers
from qsynth.placement.config import Simulate
from qsynth.placement.plan import NodePlan, Plan
from qsynth.placement.simulate import simulate
from qsynth.run.baselines import Features
from qsynth.run.build import build
from qsynth.run.config import RunConfig
from qsynth.run.evaluate import Evaluator
from qsynth.run.summary import mesh_scores, read_results
from qsynth.similarity import fingerprint_size
from qsynth.synthesis import Predictor

UNGATED = "_ungated"
CONTACT_BYTES = 110  # of a contact beside its fingerprint: id, address, version


@dataclass(frozen=True)
class Arm:
    """One arm: `kind` says how it runs; `change` gives a mesh arm's config."""

    kind: str
    doc: str
    change: Callable[[RunConfig], RunConfig] | None = None


def _with_peers(make: Callable[[int], Any]) -> Callable[[RunConfig], RunConfig]:
    return lambda config: replace(config, peers=make(_k(config)))


def _k(config: RunConfig) -> int:
    """Return how many peers the recipe has, and no more than there are."""
    others: int = sum(group.count for group in config.fleet.values()) - 1
    return max(1, min(int(getattr(config.peers, "k", 3)) or 3, others))


def _central(config: RunConfig) -> RunConfig:
    floor = getattr(config.peers, "min_similarity", Central().min_similarity)
    return replace(config, peers=Central(k=_k(config), min_similarity=floor))


def _head(config: RunConfig) -> RunConfig:
    """As many periods of one step each: the head needs no network."""
    periods = -(-config.trainer.max_steps // config.trainer.period_steps)
    trainer = replace(config.trainer, max_steps=periods, period_steps=1)
    teach = replace(config.synthesis.teach, inputs="none")
    synthesis = replace(config.synthesis, teach=teach, head_weight=1.0)
    return replace(config, trainer=trainer, synthesis=synthesis)


def _silent(config: RunConfig) -> RunConfig:
    return replace(config, partition=replace(config.partition, liars_publish=False))


ARMS: dict[str, Arm] = {
    "local": Arm("lone", "the plain network on its own data"),
    "alone": Arm("lone", "the same pipeline with no peers"),
    "best_alone": Arm("lone", "the best setting of that pipeline with no peers"),
    "semantic": Arm("mesh", "the recipe as it is", lambda config: config),
    "head": Arm("mesh", "the recipe's merged head, without a network", _head),
    "silent": Arm("mesh", "the recipe with its lying nodes silent", _silent),
    "random": Arm("mesh", "k peers drawn at random", _with_peers(lambda k: RandomPeers(k=k))),
    "dissimilar": Arm("mesh", "the k least alike", _with_peers(lambda k: Dissimilar(k=k))),
    "all": Arm(
        "mesh",
        "every other node; ungated, with the analytic head, this is AFL",
        lambda config: replace(config, peers=AllPeers()),
    ),
    "oracle": Arm("mesh", "k of the node's true group", _with_peers(lambda k: Oracle(k=k))),
    "central": Arm("mesh", "the k most alike by an index that knows all fingerprints", _central),
    "pooled": Arm("lone", "the data of the node's true group in one place"),
    "fedavg": Arm("weights", "FedAvg of all networks"),
    "fedavg_oracle": Arm("weights", "FedAvg within true groups"),
    "fedavg_finetuned": Arm("weights", "FedAvg of all, then own steps alone"),
    "fedavg_head": Arm("weights", "FedAvg of a linear head on the same encoder"),
    "fedavg_head_oracle": Arm("weights", "the same within true groups"),
    "gossip": Arm("weights", "D-PSGD on a random regular graph"),
    "pens": Arm("weights", "PENS: gossip with whose models fit one's own data"),
    "fedproto": Arm("weights", "FedProto: class means of embeddings, averaged"),
}  # fmt: skip
DEFAULT_ARMS = ("local", "alone", "best_alone", "semantic", "head", "random", "oracle", "pooled")


def find(name: str) -> Arm:
    """Return the arm of this name.  Raises ConfigError."""
    arm = ARMS.get(name.removesuffix(UNGATED))
    if arm is None or (name.endswith(UNGATED) and arm.kind != "mesh"):
        raise ConfigError(f"arms={name}: no such arm{nearest_spelling(name, ARMS)}")
    return arm


def mesh_config(config: RunConfig, name: str) -> RunConfig:
    """Return the config of a mesh arm: all of them run in `simulate`, with the real packets."""
    arm = find(name)
    assert arm.change is not None
    changed = replace(arm.change(config), placement=Simulate(), baselines=())
    if name.endswith(UNGATED):
        changed = replace(changed, synthesis=replace(changed.synthesis, gate="none"))
    return changed


def arm_values(config: RunConfig, name: str) -> dict[str, Any]:
    """Return all of a config that the figures of an arm depend on."""
    unused = ["name", "recipe", "folder", "baselines", "placement"]
    if find(name).kind == "mesh":
        values = asdict(mesh_config(config, name))
    else:
        values = asdict(config)
        unused += ["peers", "trust", "dht", "mesh", "similarity", "synthesis"]
    for key in unused:
        del values[key]
    return values


def run_mesh(config: RunConfig, name: str, data: DataSet, features: Features) -> dict[str, Any]:
    """Run a mesh arm in this process; return scores by node and what they cost.

    data: of `config.data`.  features: of its test inputs, shared by all arms.
    Raises RunError where a node has failed.
    """
    changed = mesh_config(config, name)
    with tempfile.TemporaryDirectory(prefix="qsynth-arm-") as folder:
        plan = build(changed, Path(folder), data)
        timeline = _Timeline(plan, Evaluator(plan, features))
        times = simulate(plan, timeline if plan.drift_period is not None else None)
        results = read_results(plan)
        if len(results) < len(plan.nodes):
            raise RunError(f"arm {name}: {len(plan.nodes) - len(results)} nodes have failed")
        scores = mesh_scores(plan, list(plan.nodes), Evaluator(plan, features))
    sent: dict[str, int] = {}
    for result in results.values():
        for kind, counts in result["traffic"].items():
            sent[kind] = sent.get(kind, 0) + counts["bytes"]
    total = sum(sent.values()) / len(results)
    if isinstance(changed.peers, Central):
        # An index in one place: one contact up, k down, and the packets.
        size = fingerprint_size(changed.similarity, plan.data.task.classes) + CONTACT_BYTES
        total = sent.get("fetch", 0) / len(results) + size * (1 + changed.peers.k)
    if isinstance(changed.peers, NoPeers):
        total = 0.0
    return {
        "scores": {node: asdict(score) for node, score in scores.items()},
        "bytes_per_node": total,
        "packet_bytes": float(np.mean([r["packet_bytes"] for r in results.values()])),
        "authors": float(np.mean([len(r["authors"]) for r in results.values()])),
        "used": float(np.mean([len(r["used"]) for r in results.values()])),
        "cpu_s": times["cpu_s"],
        "timeline": timeline.means(),
    }


class _Timeline:
    """Own accuracy of the nodes that drift, period by period, as their data are then."""

    def __init__(self, plan: Plan, evaluator: Evaluator) -> None:
        self.plan, self.evaluator = plan, evaluator
        self.scores: dict[int, list[float]] = {}

    def __call__(self, node: NodePlan, period: int, predictor: Predictor) -> None:
        """Score a predictor at the end of a period."""
        if node.share.later is None or not node.share.honest:
            return
        if period < (self.plan.drift_period or 0):
            node = replace(node, share=replace(node.share, later=None))
        score = self.evaluator.score(node, predictor.network, predictor)
        self.scores.setdefault(period, []).append(score.own)

    def means(self) -> list[list[float]] | None:
        """Return [period, mean own accuracy], or None where nothing drifts."""
        made = [[float(p), float(np.mean(own))] for p, own in sorted(self.scores.items())]
        return made or None
