"""Put a node of a plan together: its pipeline, its learning, its state machine, its attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qsynth.attack.forge import AttackingPort, Forger
from qsynth.attack.rehearsal import Rehearsal
from qsynth.distill import distil, payload_statistics
from qsynth.distill.analytic import Analytic
from qsynth.host.assemble import assemble
from qsynth.host.consent import Consent
from qsynth.identity import Identity
from qsynth.packet import Payload
from qsynth.pipeline import target_pipeline
from qsynth.pipeline.class_pipeline import ClassPipeline
from qsynth.pipeline.participant import Lonely, Participant, Port
from qsynth.pipeline.target_pipeline import TargetPipeline
from qsynth.privacy import Budget, key_of
from qsynth.privacy.noise import simulated_key
from qsynth.protocol.node import Node
from qsynth.similarity import fingerprint
from qsynth.synthesis import HeadRule
from qsynth.training.plan import NodePlan, RunPlan
from qsynth.types import Fingerprint, Floats32, Ints, NodeId


def make_pipeline(plan: RunPlan, node: NodePlan) -> ClassPipeline | TargetPipeline:
    """Return what a node does with its own data."""
    share, privacy = node.share, plan.rules.privacy
    situated = privacy.situated(group=share.group, site=share.site, node=node.name)
    rules = replace(plan.rules, privacy=situated)
    return target_pipeline.make_pipeline(
        plan.data.task, plan.encoder, rules, plan.samples(node), node.seed, _key(plan, node)
    )


def _key(plan: RunPlan, node: NodePlan) -> bytes:
    """Return the secret of a node's noise: of its own home, or what a simulation has for one."""
    if not plan.rules.privacy.guarded:
        return b""
    if plan.placement.simulated or not plan.folder.name:
        return simulated_key(plan.seed, node.name)
    return key_of(_home(plan, node))


def make_participant(plan: RunPlan, node: NodePlan, port: Port) -> Participant:
    """Return a node's learning, whose samples change when the plan says so."""
    pipeline = make_pipeline(plan, plan.at(node, 0))
    if node.attack is not None and isinstance(pipeline, ClassPipeline):
        port = AttackingPort(port, _forger(plan, node))
    # `node up` has a home of its own, and that is its plan's folder.
    consent = Consent(plan.publish, plan.folder)
    # Who has nobody to tell releases nothing.
    kept = plan.rules.privacy.guarded and plan.folder.name and not isinstance(port, Lonely)
    budget = Budget(plan.rules.privacy, _home(plan, node) if kept else None)
    stages = Stages(plan, node)
    return Participant(pipeline, port, stages, node.silent, consent.permits, budget)


def _home(plan: RunPlan, node: NodePlan) -> Path:
    """Return the folder of a node's secret, and of what it has released."""
    return plan.home or plan.node_folder(node)


class Stages:
    """Give a node's pipeline anew in each period in which its samples have changed.

    A node that goes on from a checkpoint may begin with a later one.
    """

    def __init__(self, plan: RunPlan, node: NodePlan) -> None:
        self.plan, self.node, self.stage = plan, node, 0

    def __call__(self, period: int) -> ClassPipeline | TargetPipeline | None:
        """Return the pipeline of other samples; None where they are those of the call before."""
        now = self.plan.stage(self.node, period)
        if now == self.stage:
            return None
        self.stage = now
        return make_pipeline(self.plan, self.plan.at(self.node, period))


def _forger(plan: RunPlan, node: NodePlan) -> Forger:
    """Return what forges a node's publications: it knows what a victim publishes, as all may."""
    honest = next(other for other in plan.nodes if other.share.honest)
    first = next(other for other in plan.nodes if other.attack is not None)
    metric, told = plan.rules.similarity, make_pipeline(plan, honest).distil()
    sketched = metric.sketched() or 0
    return Forger(
        node.attack,
        partial(_sketch, metric),
        told,
        make_pipeline(plan, first).distil(),
        sketched,
        node.seed,
        partial(_rehearsal, plan, node, sketched),
    )


def _rehearsal(plan: RunPlan, node: NodePlan, sketched: int) -> Rehearsal:
    """Return what an attacker tries lies on: itself, and the honest packets that are most alike."""
    pipeline = make_pipeline(plan, node)
    assert isinstance(pipeline, ClassPipeline)
    assert isinstance(plan.rules.synthesis, HeadRule)
    own = pipeline.distil().fingerprint
    published = [make_pipeline(plan, each).distil() for each in plan.nodes if each.share.honest]
    published.sort(key=lambda publication: -pipeline.alike(own, publication.fingerprint))
    victim, *others = (payload_statistics(publication.payload) for publication in published[:3])
    bare = plan.rules.distill.statistics().without_inputs()
    code = partial(_coded, bare, victim.dimensions, plan.data.task.classes)
    return Rehearsal(
        plan.rules.synthesis,
        victim,
        others,
        pipeline.own.features,
        pipeline.own.labels,
        code,
        payload_statistics,
        sketched,
    )


def _coded(rule: Analytic, d: int, classes: int, features: Floats32, labels: Ints) -> Payload:
    return distil(rule, d, features, None, labels, classes)


def _sketch(metric: Any, payload: Payload) -> tuple[Fingerprint, int]:
    said = payload_statistics(payload)
    return fingerprint(metric, said.counts, said.sums), int(said.counts.sum())


def make_node(
    plan: RunPlan,
    node: NodePlan,
    identity: Identity,
    address: str,
    epoch_s: float,
    rpc_seed: int | None = None,
    wanted: Sequence[NodeId] | None = None,
) -> Node:
    """Return a node's state machine.

    wanted: the authors that `peers` oracle and central name, in simulations.
    """
    made = assemble(
        plan.data.task,
        plan.encoder.digest,
        plan.rules,
        trust=plan.trust,
        peers=plan.peers,
        dht=plan.dht,
        mesh=plan.mesh,
        identity=identity,
        address=address,
        epoch_s=epoch_s,
        seed=node.seed,
        rpc_seed=rpc_seed,
        wanted=wanted,
    )
    if node.attack is not None and not node.silent:
        node.attack.misbehave(made, partial(_forger, plan, node), node.seed)
    return made
