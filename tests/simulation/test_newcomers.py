"""Nodes that come late, with few samples: what they look for, and what they find."""

from __future__ import annotations

from pathlib import Path

import pytest

from qsynth.errors import ConfigError
from qsynth.experiment.build import build
from qsynth.host.plan_node import make_pipeline
from qsynth.recipe.compose import compose
from qsynth.report.events import all_events
from qsynth.simulation.simulate import simulate

WORDS = [
    "partition=rotations",
    "partition.groups=2",
    "partition.samples_per_node=90",
    "partition.newcomer_share=0.25",
    "partition.newcomer_samples=30",
    "fleet.cnn.count=0",
    "fleet.linear.count=4",
    "fleet.mlp.count=4",
    "trainer.max_steps=40",
    "trainer.period_steps=10",
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "placement=simulate",
    "peers.k=3",
    "synthesis.d=48",
    "mesh=memory",
    "synthesis.teach.inputs=none",
]


def test_newcomers_begin_late_and_learn_from_packets_that_are_there(tmp_path: Path) -> None:
    plan = build(compose([*WORDS, "similarity.query_support=2"]).config, tmp_path)
    late = [node.name for node in plan.nodes if node.begins is not None]
    assert len(late) == 2
    simulate(plan)
    events = all_events(tmp_path)
    began = {e["node"]: e["time"] for e in events if e["event"] == "started"}
    assert min(began[name] for name in late) > 2.5 * plan.mesh.period_s + min(began.values())
    admitted = {e["node"] for e in events if e["event"] == "admit"}
    assert set(late) <= admitted
    assert not [e for e in events if e["event"] == "publish" and e["node"] in late]


def test_without_a_query_of_their_own_they_find_nobody(tmp_path: Path) -> None:
    plan = build(compose(WORDS).config, tmp_path)
    late = [node for node in plan.nodes if node.begins is not None]
    for node in late:
        publication = make_pipeline(plan, node).distil()
        assert publication.support == 0
        assert not publication.query.any()
    simulate(plan)
    admitted = {e["node"] for e in all_events(tmp_path) if e["event"] == "admit"}
    assert not admitted & {node.name for node in late}


def test_a_query_tells_of_more_classes_than_the_packet(tmp_path: Path) -> None:
    plan = build(compose([*WORDS, "similarity.query_support=2"]).config, tmp_path)
    pipeline = make_pipeline(plan, plan.nodes[-1])
    publication = pipeline.distil()
    assert not publication.fingerprint.any()
    assert publication.query.any()
    known = make_pipeline(plan, plan.nodes[0]).distil()
    same = pipeline.alike(publication.query, known.query)
    other = pipeline.alike(publication.query, make_pipeline(plan, plan.nodes[1]).distil().query)
    group = [node.share.group for node in plan.nodes]
    mate, stranger = (same, other) if group[0] == group[-1] else (other, same)
    assert mate > stranger


def test_only_a_simulation_lets_nodes_begin_late(tmp_path: Path) -> None:
    config = compose([*WORDS, "placement=processes", "mesh=ipc"]).config
    with pytest.raises(ConfigError, match="needs placement=simulate"):
        build(config, tmp_path)
