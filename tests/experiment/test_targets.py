"""Labels and values from end to end, and every mistake in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from qsynth.cli.main import main
from qsynth.evaluation.target_metrics import target_measures
from qsynth.training.export import load_predictor

WORDS = [
    "+recipe=progression",
    "encoder.dimensions=24",
    "encoder.frequencies=32",
    "encoder.fit_inputs=300",
    "distill.d=16",
    "data.batch_size=8",
    "data.labels=[]",
    "fleet.narrow.count=2",
    "fleet.wide.count=1",
    "trainer.max_steps=20",
    "trainer.period_steps=5",
    "--quiet",
]


def write(path, kind, n=300):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 4)).astype(np.float32)
    y = 100 + 30 * x[:, :2] if kind == "values" else (x[:, :2] > 0)
    np.savez(path, x=x, y=y.astype(np.float32))
    return [f"data.path={path}", f"data.kind={kind}"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["values", "labels"])
def test_a_run_of_targets(kind, tmp_path, capsys) -> None:
    words = [*write(tmp_path / "made.npz", kind), f"folder={tmp_path}", *WORDS, "peers.k=2"]
    assert main(["run", *words, "--json", "trainer.max_steps=200"]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["failures"] == []
    assert summary["packets"]["rejected"] == {}
    assert summary["packets"]["admitted"] > 0
    assert 0.5 < summary["accuracy"]["own"]["mean"] <= 1.0
    predictor = load_predictor(next(tmp_path.rglob("predictor.pt")))
    with torch.no_grad():
        answers = predictor(torch.zeros(1, 4)).numpy()
    assert answers.shape == (1, 2)
    if kind == "values":
        assert np.abs(answers - 100).max() < 20  # in the units of the file
    else:
        assert 0 <= answers.min() <= answers.max() <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["synthesis=analytic_head"], "use synthesis=hierarchical"),
        (["partition=dirichlet"], "deals by classes"),
        (["distill.coding=means"], "coding low_rank or diagonal"),
        (["similarity=label_histogram"], "class_sketch and sketch_mean"),
        (["data.kind=classes"], "one class index a sample"),
        (["data.labels=[one]"], "2 columns"),
        (["distill.max_bytes=512"], "targets need"),
        (["data.kind=value"], "did you mean values"),
        (
            [
                "task=declared",
                "task.labels=[a,b]",
                "task.shape=[4]",
                "task.kind=values",
                "task.scale=[1.0,2.0]",
            ],
            "task.scale=[1.0, 2.0]: needs one number a feature",
        ),
        (
            [
                "task=declared",
                "task.labels=[a,b]",
                "task.shape=[4]",
                "task.kind=values",
                "task.scale=[0.0]",
            ],
            "task.scale=[0.0]: must be above 0",
        ),
    ],
)
def test_a_mistake_is_one_line(words, said, tmp_path, capsys) -> None:
    base = [*write(tmp_path / "made.npz", "values"), f"folder={tmp_path}", *WORDS]
    assert main(["run", *base, *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_classes_do_not_take_ridge(tmp_path, capsys) -> None:
    assert (
        main(
            [
                "run",
                "+recipe=digits_mesh",
                "synthesis=ridge",
                "synthesis.teach.inputs=own_mix",
                "distill.input_rank=null",
                "--quiet",
            ]
        )
        == 2
    )
    assert "use synthesis=hierarchical" in capsys.readouterr().err


def test_labels_that_are_no_labels_are_refused(tmp_path, capsys) -> None:
    base = [*write(tmp_path / "made.npz", "values"), f"folder={tmp_path}", *WORDS]
    assert main(["run", *base, "data.kind=labels"]) == 2
    assert "0 and 1" in capsys.readouterr().err


def test_measures_of_values_and_labels() -> None:
    rng = np.random.default_rng(0)
    y = rng.standard_normal((500, 1)).astype(np.float32)
    perfect = target_measures("values", y.astype(np.float64), y)
    assert perfect == pytest.approx({"own": 1.0, "balanced": 1.0, "auroc": 1.0, "ece": 0.0})
    shifted = target_measures("values", y + 1.0, y)
    assert shifted["auroc"] == 1.0
    assert shifted["own"] == pytest.approx(1 - 1 / y.var(), abs=1e-5)
    assert shifted["ece"] == pytest.approx(1 / y.std(), abs=1e-5)
    none = target_measures("values", np.zeros((500, 1)), y)
    assert none["auroc"] == 0.5
    holds = (rng.random((500, 3)) < [0.5, 0.1, 0.0]).astype(np.float32)
    right = target_measures("labels", 0.8 * holds + 0.1, holds)
    assert right["own"] == right["auroc"] == 1.0
    assert right["ece"] == pytest.approx(0.1, abs=1e-6)
    guess = target_measures("labels", np.full((500, 3), 0.4), holds)
    assert guess["own"] == guess["auroc"] == 0.5
