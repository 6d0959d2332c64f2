"""Nodes whose data change while they train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from qsynth.errors import ConfigError
from qsynth.experiment.arms import run_mesh
from qsynth.experiment.build import build
from qsynth.host.plan_node import make_participant
from qsynth.partition import assign_samples
from qsynth.partition.label_groups import LabelGroups
from qsynth.partition.rotations import Rotations
from qsynth.recipe.compose import compose
from qsynth.report.events import all_events
from qsynth.simulation.simulate import simulate
from qsynth.training.fit import fit, no_exchange, quietly

WORDS = [
    "encoder.fit_images=400",
    "encoder.dimensions=48",
    "encoder.filters=24",
    "peers.k=3",
    "trainer.max_steps=60",
    "trainer.period_steps=10",
    "placement=simulate",
    "partition=rotations",
    "partition.groups=2",
    "partition.drift_period=3",
    "partition.samples_per_node=80",
    "synthesis.teach.inputs=own_mix",
    "peers.min_similarity=0.8",
    "distill.input_rank=null",
    "baselines=[]",
]


@pytest.fixture(scope="module")
def config():
    return compose(WORDS).config


def test_who_drifts_is_dealt_new_samples_of_the_next_group() -> None:
    labels = np.arange(3000) % 10
    shares = assign_samples(
        Rotations(groups=4, samples_per_node=50, drift_period=2, drift_share=0.5),
        labels,
        10,
        8,
        0,
        shape=(1, 8, 8),
    )
    moved = [share for share in shares if share.later is not None]
    assert len(moved) == 4
    for share in moved:
        assert share.later.group == (share.group + 1) % 4
        assert share.later.quarter_turns == share.later.group
    parts = [s.train for s in shares] + [s.later.train for s in moved]
    together = np.concatenate(parts)
    assert len(together) == len(np.unique(together))
    with pytest.raises(ConfigError, match="not for label_groups"):
        assign_samples(LabelGroups(drift_period=2, samples_per_node=50), labels, 10, 4, 0)


def test_packets_are_renewed_and_new_peers_are_found(config, tmp_path: Path) -> None:
    plan = replace(build(config, tmp_path), folder=tmp_path)
    simulate(plan)
    events = all_events(tmp_path)
    published = {}
    for event in events:
        if event["event"] == "publish":
            published.setdefault(event["node"], []).append(event["period"])
    for node in plan.nodes:
        assert published[node.name] == ([0, 3] if node.share.later else [0])
    ids = {e["id"]: e["node"] for e in events if e["event"] == "started"}
    group_of = {node.name: (node.later or node).share.group for node in plan.nodes}
    last = {}
    for event in events:
        if event["event"] == "synthesis":
            last[event["node"]] = event["used"]
    # Who stayed may go on with packets that its old mates made before they left.
    moved = {node.name for node in plan.nodes if node.share.later}
    used = [(group_of[n], group_of[ids[a]]) for n, held in last.items() if n in moved for a in held]
    assert len(used) > 0
    assert np.mean([a == b for a, b in used]) > 0.8


def test_the_network_trains_on_the_new_samples_from_that_period(config) -> None:
    plan = build(config, Path())
    node = next(n for n in plan.nodes if n.share.later is not None)
    still = replace(node, share=replace(node.share, later=None))
    moved, stayed = (
        quietly(lambda n=n: fit(plan, n, no_exchange)).state_dict() for n in (node, still)
    )
    assert any(not np.array_equal(moved[key], stayed[key]) for key in moved)
    short = replace(plan, trainer=replace(plan.trainer, max_steps=29))
    moved, stayed = (
        quietly(lambda n=n: fit(short, n, no_exchange)).state_dict() for n in (node, still)
    )
    assert all(np.array_equal(moved[key], stayed[key]) for key in moved)


def test_a_pipeline_of_the_new_samples_replaces_the_old_one(config) -> None:
    plan = build(config, Path())
    node = next(n for n in plan.nodes if n.share.later is not None)
    from qsynth.pipeline.participant import Lonely

    participant = make_participant(plan, node, Lonely())
    assert participant.later(2) is None
    later = participant.later(3)
    assert np.array_equal(later.samples.train_x, plan.samples(node.later).train_x)


def test_the_timeline_follows_those_who_drift(config) -> None:
    from qsynth.data import load_data

    made = run_mesh(config, "semantic", load_data(config.data, config.task), {})
    periods = [entry[0] for entry in made["timeline"]]
    assert periods == [0, 1, 2, 3, 4, 5, 6]
    assert all(0 < entry[1] <= 1 for entry in made["timeline"])


def test_a_silent_node_publishes_nothing_whatever_drives_it(config) -> None:
    plan = build(config, Path())
    told = []

    class Port:
        def end_period(self, period, publication, same):
            told.append(publication)
            return {}

        def note(self, records) -> None:
            pass

        def learned(self, held, used, likelihood) -> None:
            pass

    node = plan.nodes[0]
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    for silent in (False, True):
        make_participant(plan, replace(node, silent=silent), Port()).exchange(0, network)
    assert told[0] is not None
    assert told[1] is None
