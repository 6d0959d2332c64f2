"""Lightning loggers by config: one folder a node, no trace of the arms of a comparison."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from qsynth.cli.main import main

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "trainer.period_steps=10",
    "trainer.max_steps=60",
    "placement=simulate",
    "fleet.mlp.count=1",
    "fleet.cnn.count=1",
    "fleet.linear.count=1",
]


@pytest.mark.slow
def test_a_csv_logger_writes_what_each_node_trains(tmp_path) -> None:
    assert main(["run", *SMALL, f"folder={tmp_path}", "trainer.logger=csv", "--quiet"]) == 0
    (run,) = tmp_path.iterdir()
    logs = sorted(run.glob("nodes/*/logs/metrics.csv"))
    assert len(logs) == 3
    text = logs[0].read_text()
    assert "train_loss" in text
    assert "period" in text
    assert len(text.splitlines()) > 5


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="the extra tensorboard is not installed"
)
def test_tensorboard_writes_events(tmp_path) -> None:
    words = [*SMALL, f"folder={tmp_path}", "trainer.logger=tensorboard", "--quiet", "baselines=[]"]
    assert main(["run", *words]) == 0
    assert len(list(Path(tmp_path).glob("*/nodes/*/lightning_logs/*/events.out.tfevents.*"))) == 3


@pytest.mark.parametrize(
    ("name", "told"), [("nowhere.Logger", "cannot be imported"), ("pathlib.Path", "must be none")]
)
def test_a_logger_that_is_none_is_one_line(name, told, capsys, tmp_path) -> None:
    words = ["run", *SMALL, f"folder={tmp_path}", f"trainer.logger={name}", "--quiet"]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
