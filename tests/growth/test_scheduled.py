"""Runs in which records come by and by: the same bits twice, and where one is interrupted."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from qsynth.cli.main import main
from qsynth.experiment.build import build
from qsynth.recipe.compose import compose
from qsynth.training.loader import ResumableLoader

WORDS = [
    "+recipe=digits_mesh",
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "fleet.mlp.count=2",
    "fleet.cnn.count=0",
    "fleet.linear.count=1",
    "partition=iid",
    "partition.samples_per_node=150",
    "growth=scheduled",
    "growth.rows=20",
    "trainer.period_steps=5",
    "trainer.max_steps=25",
    "placement=simulate",
    "baselines=[]",
]


def run(folder, capsys, *more):
    words = ["run", *WORDS, f"folder={folder}", "--json", "--quiet", *more]
    assert main(words) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_node_begins_with_some_samples_and_ends_with_all(tmp_path) -> None:
    plan = build(compose(WORDS).config, tmp_path)
    for node in plan.nodes:
        assert node.share.ends == (60, 80, 100, 120)
        assert plan.changes(node)
        sizes = [len(plan.samples(plan.at(node, period)).train_y) for period in range(6)]
        assert sizes == [60, 80, 100, 120, 120, 120]
        first, all_of_them = (plan.samples(plan.at(node, p)).train_x for p in (0, 5))
        np.testing.assert_array_equal(first, all_of_them[:60])
        assert plan.samples(plan.at(node, 2)).ends == (60, 80, 100)
    assert not {*plan.nodes[0].share.train} & {*plan.nodes[1].share.train}


def test_packets_follow_the_records_and_the_same_seed_makes_the_same(tmp_path, capsys) -> None:
    one, two = (run(tmp_path / name, capsys) for name in "ab")
    assert one["failures"] == []
    assert one["accuracy"] == two["accuracy"]
    assert one["packets"]["rejected"] == {}
    events = next((tmp_path / "a").glob("*/nodes/mlp-0/events.jsonl")).read_text().splitlines()
    published = [each for each in map(json.loads, events) if each["event"] == "publish"]
    # Each twenty bring one more class at least to three new samples, together with those before.
    assert 2 <= len(published) <= 4


def test_a_guarantee_counts_all_days(tmp_path, capsys) -> None:
    pytest.importorskip("dp_accounting", reason="needs the extra privacy")
    words = ["privacy=dp", "privacy.updates=3", "synthesis.teach.inputs=own_mix"]
    made = run(tmp_path, capsys, *words)
    assert made["privacy"]["releases"] == 4
    assert made["privacy"]["spent"] == pytest.approx(8.0, rel=1e-3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["growth=file"], "growth=file: is for `qsynth node up`"),
        (["growth.first=2"], "growth.first=2: must be >= 4"),
        (["growth=schedule"], "did you mean scheduled?"),
        (["privacy=secure_sum", "synthesis.teach.inputs=own_mix"], "growth=scheduled: privacy="),
        (["partition=rotations", "partition.drift_period=2"], "does not go with partition.drift"),
    ],
)
def test_mistakes_are_one_line(words, told, capsys) -> None:
    keep = [w for w in WORDS if not (words[0].startswith("growth=") and w.startswith("growth"))]
    assert main(["run", *keep, *words, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert len(said.strip().splitlines()) == 1


def loader(count: int) -> ResumableLoader:
    return ResumableLoader(TensorDataset(torch.arange(count)), 4, 3)


def test_a_loader_gives_more_samples_from_the_next_epoch_on_and_goes_on_where_it_was() -> None:
    grown, seen = loader(10), []
    epoch = iter(grown)
    seen.append(next(epoch)[0])
    grown.replace(torch.arange(21))
    seen += [batch for (batch,) in epoch]
    assert max(int(batch.max()) for batch in seen) < 10
    saved = None
    later = []
    for number, (batch,) in enumerate(grown):
        later.append(batch)
        if number == 1:
            saved = grown.state_dict()
    assert len(later) == 5
    assert len(torch.cat(later).unique()) == 20
    other = loader(10)
    other.replace(torch.arange(21))
    other.load_state_dict(saved)
    again = [batch for (batch,) in other]
    assert [b.tolist() for b in again] == [b.tolist() for b in later[2:]]
    # One that was saved before it grew ends the epoch that it had begun.
    early = loader(10)
    epoch = iter(early)
    next(epoch)
    state = early.state_dict()
    rest = [batch.tolist() for (batch,) in epoch]
    other = loader(10)
    other.load_state_dict(state)
    other.replace(torch.arange(21))
    assert [batch.tolist() for (batch,) in other] == rest
