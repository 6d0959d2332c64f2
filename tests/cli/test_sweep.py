"""Sweeps: one run for each combination, a failing one among them."""

from __future__ import annotations

import json

import pytest

from qsynth.cli.main import main
from qsynth.cli.sweep import expanded
from qsynth.errors import ConfigError

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "baselines=[]",
    "trainer.period_steps=10",
    "trainer.max_steps=20",
]


def test_every_combination_is_one_run() -> None:
    made = expanded(["+recipe=a,b", "seed=range(0,3)", "baselines=[local,alone]", "x=choice(p,q)"])
    assert len(made) == 12
    assert made[0] == ["+recipe=a", "seed=0", "baselines=[local,alone]", "x=p"]
    assert len({tuple(words) for words in made}) == 12
    assert expanded(["seed=1"]) == [["seed=1"]]
    with pytest.raises(ConfigError, match="single values"):
        expanded(["x=interval(0,1)"])
    with pytest.raises(ConfigError, match="more than"):
        expanded(["seed=range(0,2000)"])


@pytest.mark.slow
def test_a_sweep_runs_each_in_every_placement(tmp_path, capfd) -> None:
    few = ["fleet.mlp.count=1", "fleet.cnn.count=0", "fleet.linear.count=1"]
    words = [*SMALL, *few, f"folder={tmp_path}", "placement=simulate,processes", "seed=1"]
    assert main(["run", "-m", *words, "--json", "--quiet"]) == 0
    rows = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    assert [row["overrides"] for row in rows] == [["placement=simulate"], ["placement=processes"]]
    assert [row["summary"]["placement"] for row in rows] == ["simulate", "processes"]
    assert [row["summary"]["nodes"] for row in rows] == [2, 2]


def test_a_mistake_in_one_is_answered_before_the_first_runs(tmp_path, capsys) -> None:
    words = [*SMALL, f"folder={tmp_path}/runs", "placement=simulate", "peers.k=1,-3"]
    assert main(["run", "-m", *words]) == 2
    assert "peers.k=-3" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    assert main(["run", "-m", "--resume", str(tmp_path)]) == 2


@pytest.mark.slow
def test_a_run_that_fails_leaves_the_others(tmp_path, capfd) -> None:
    words = ["data=arrays", "data.path=/nowhere/a.npz,/nowhere/b.npz", "placement=simulate"]
    assert main(["run", "-m", *words, "--json", "--quiet"]) == 1
    rows = json.loads(capfd.readouterr().out.strip().splitlines()[-1])
    assert [row["exit_code"] for row in rows] == [2, 2]
