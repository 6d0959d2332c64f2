"""How much better, and how sure: paired figures, their intervals, and the sentence on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from qsynth.cli.main import main
from qsynth.evaluation.evaluate import Evaluator
from qsynth.evaluation.gain import class_parts, difference, gains, packed, target_parts, unpacked
from qsynth.evaluation.linear import STRENGTHS, linear_answers
from qsynth.evaluation.metrics import auroc, balanced_accuracy, calibration_error
from qsynth.evaluation.target_metrics import target_measures
from qsynth.evaluation.verdict import gains_line, lost_line, verdict
from qsynth.experiment.build import build
from qsynth.recipe.compose import compose
from tests.benchmarks.table import WORDS, cancer


def test_parts_add_up_to_the_figure(rng) -> None:
    scores, labels, weights = rng.standard_normal((50, 3)), np.arange(50) % 3, rng.random(50)
    right = scores.argmax(1) == labels
    parts = class_parts(scores, labels, weights)
    assert parts.sum() == pytest.approx((right * weights).sum() / weights.sum(), abs=1e-5)
    assert np.array_equal(unpacked(packed(parts)), parts)
    for kind in ("labels", "values"):
        targets = rng.standard_normal((50, 2)).astype(np.float32)
        answers = targets + rng.standard_normal((50, 2))
        if kind == "labels":
            targets, answers = (targets > 0).astype(np.float32), 1 / (1 + np.exp(-answers))
        answers[3, 1] = np.nan
        whole = target_measures(kind, answers, targets)["own"]
        assert target_parts(kind, answers, targets).sum() == pytest.approx(whole, abs=1e-4)


def test_an_answer_that_is_no_number_is_wrong_and_has_no_confidence(rng) -> None:
    labels, weights = np.arange(40) % 4, np.ones(40)
    sure = 20.0 * np.eye(4)[labels]
    lost = sure.copy()
    lost[::2] = np.nan
    lost[1] = np.inf
    assert class_parts(lost, labels, weights).sum() == pytest.approx(19 / 40, abs=1e-6)
    assert balanced_accuracy(lost, labels, weights) < balanced_accuracy(sure, labels, weights)
    assert 0.5 < auroc(lost, labels, weights) < 1.0
    assert np.isfinite(calibration_error(lost, labels, weights))
    nothing = np.full((40, 4), np.nan)
    assert class_parts(nothing, labels, weights).sum() == 0.0
    assert auroc(nothing, labels, weights) == 0.5
    assert calibration_error(nothing, labels, weights) == pytest.approx(0.25)
    values = target_measures("values", np.full((9, 1), np.nan), np.arange(9.0)[:, None] - 4)
    assert values["own"] == 0.0


def test_an_interval_covers_what_it_should(rng) -> None:
    covered = 0
    for _ in range(400):
        better, worse = rng.random(150) < 0.12, rng.random(150) < 0.05
        parts = (better.astype(float) - worse) / 150
        _, low, high = difference(parts)
        covered += low <= 0.12 - 0.05 <= high
    assert 0.92 <= covered / 400 <= 0.99
    gain, low, high = difference(np.full(20, 1 / 20))
    assert gain == pytest.approx(1.0)
    assert 0.7 < low < high
    assert difference(np.zeros(0)) == (0.0, -1.0, 1.0)
    assert difference(np.zeros(30))[1] < 0.0 < difference(np.zeros(30))[2]


def test_a_sample_that_all_nodes_answer_counts_once(rng) -> None:
    rows = np.arange(100)
    apart = rng.integers(-1, 2, 100) / 100
    base = {name: np.zeros(100, np.float32) for name in "abcd"}
    same = gains(dict.fromkeys("abcd", apart), base, dict.fromkeys("abcd", rows), 100)
    one = gains({"a": apart}, base, {"a": rows}, 100)
    assert same["mean"] == pytest.approx(one["mean"])
    assert same["low"] == pytest.approx(one["low"])
    assert same["samples"] == 100
    own = {name: rows + 100 * at for at, name in enumerate("abcd")}
    each = gains(dict.fromkeys("abcd", apart), base, own, 400)
    assert each["samples"] == 400
    assert each["high"] - each["low"] < same["high"] - same["low"]


SUMMARY = {
    "accuracy": {},
    "kind": "classes",
    "lost": [],
    "baseline": {"local": {}, "alone": {}, "linear": {}},
}
BEST = {
    "arm": "linear",
    "mean": 0.031,
    "low": 0.01,
    "high": 0.05,
    "better": 8,
    "of": 8,
    "samples": 1437,
}


@pytest.mark.parametrize(
    ("best", "said"),
    [
        (
            {},
            "The mesh helped: +3.1 points over a linear model on the inputs, the best of 3 "
            "baselines without it; 8 of 8 nodes are better; 95 % interval +1.0 to +5.0, 1,437 ",
        ),
        ({"low": -0.01}, "It is not sure that the mesh helped: +3.1"),
        (
            {"low": -0.01, "mean": -0.001},
            "The mesh did not help, as far as these samples tell: -0.1",
        ),
        ({"mean": -0.03, "low": -0.05, "high": -0.01}, "The mesh did not help, it harmed: -3.0"),
    ],
)
def test_the_sentence_claims_no_more_than_the_interval(best, said) -> None:
    told = verdict(SUMMARY | {"gain": {"over_best": BEST | best}})
    assert told.startswith(said)


def test_without_baselines_or_nodes_the_sentence_says_so() -> None:
    assert "no baseline was run" in verdict(SUMMARY | {"gain": {"over_best": None}})
    none = {"accuracy": None, "gain": {"over_best": None}}
    assert verdict(none).startswith("No node has left a predictor")
    assert lost_line({"lost": ["a", "b"]}).startswith("a, b: the networks are lost")
    assert lost_line({}) == ""
    gain = {"over_local": {"own": {"mean": 0.01, "worst": -0.02}}, "over_alone": None}
    assert gains_line({"gain": gain}) == "points over local +1.0 (least -2.0)"


def test_on_a_table_the_first_sentence_says_whether_the_mesh_helped(tmp_path, capsys) -> None:
    words = [*WORDS, f"data.path={cancer(tmp_path)}", f"folder={tmp_path}/runs"]
    assert main(["run", *words]) == 0
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    (folder,) = (tmp_path / "runs").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    best = summary["gain"]["over_best"]
    means = {arm: summary["baseline"][arm]["own"]["mean"] for arm in ("local", "alone", "linear")}
    assert best["arm"] == max(means, key=means.__getitem__) == "linear"
    own = summary["accuracy"]["own"]["mean"]
    assert best["mean"] == pytest.approx(own - means["linear"], abs=1e-5)
    assert best["low"] <= best["mean"] <= best["high"]
    assert ("did not help" in first) == (best["low"] <= 0.0)
    assert first in (folder / "report.html").read_text().replace("&#x27;", "'")
    for row in summary["per_node"]:
        assert row["gain"] == pytest.approx(row["own"] - row["linear"], abs=1e-5)
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
        assert 20 < row["test_samples"] < 60
        line = next(text for text in out.splitlines() if f" {row['name']} " in text)
        assert f"{100 * row['gain_low']:+.1f} to {100 * row['gain_high']:+.1f}" in line
        assert f" {row['test_samples']} " in line
    assert best["samples"] == sum(row["test_samples"] for row in summary["per_node"])
    # No statistics of raw inputs, which the default recipe sends of its own digits.
    event = next(
        line for line in (folder / "events.jsonl").read_text().splitlines() if '"publish"' in line
    )
    assert json.loads(event)["bytes"] < 4000


def test_a_linear_model_is_that_of_scikit_learn(tmp_path) -> None:
    config = compose([*WORDS, f"data.path={cancer(tmp_path)}"]).config
    plan = build(config, tmp_path)
    node, samples = plan.nodes[1], plan.samples(plan.nodes[1])
    evaluator = Evaluator(plan)
    test = plan.data.test_x[evaluator.rows(node)]
    answers = linear_answers(plan, node, test)
    assert np.allclose(np.exp(answers).sum(axis=1), 1.0, atol=1e-6)
    x = np.concatenate([samples.train_x, samples.validation_x])
    y = np.concatenate([samples.train_y, samples.validation_y])
    scale = StandardScaler().fit(x)
    twins = [
        LogisticRegression(C=c, max_iter=200)
        .fit(scale.transform(x), y)
        .predict_proba(scale.transform(test))
        for c in STRENGTHS
    ]
    assert min(np.abs(twin - np.exp(answers)).max() for twin in twins) < 0.01
    score = evaluator.linear_score(node)
    assert score.own == pytest.approx((answers.argmax(1) == evaluator.test_labels(node)).mean())


def test_more_inputs_than_samples_are_turned_and_not_lost(tmp_path, rng) -> None:
    x = rng.standard_normal((60, 90)).astype(np.float32)
    y = (x[:, 0] + 0.5 * x[:, 1] > 0).astype(int)
    np.savez(tmp_path / "wide.npz", x=x, y=y, node=np.arange(60) % 2)
    words = [w.replace("mlp.count=4", "mlp.count=2") for w in WORDS]
    plan = build(compose([*words, f"data.path={tmp_path}/wide.npz"]).config, tmp_path)
    node, samples = plan.nodes[0], plan.samples(plan.nodes[0])
    answers = linear_answers(plan, node, samples.train_x)
    whole = np.concatenate([samples.train_x, samples.validation_x])
    labels = np.concatenate([samples.train_y, samples.validation_y])
    scale = StandardScaler().fit(whole)
    twins = [
        LogisticRegression(C=c, max_iter=500, tol=1e-6)
        .fit(scale.transform(whole), labels)
        .predict_proba(scale.transform(samples.train_x))
        for c in STRENGTHS
    ]
    assert min(np.abs(twin - np.exp(answers)).max() for twin in twins) < 0.02


def test_values_have_ridge_regression(tmp_path, rng) -> None:
    x = rng.standard_normal((80, 3)).astype(np.float32)
    np.savez(tmp_path / "v.npz", x=x, y=x[:, :2] * 3 + 1, node=np.arange(80) % 2)
    words = [w.replace("mlp.count=4", "mlp.count=2") for w in WORDS]
    words += [f"data.path={tmp_path}/v.npz", "data.kind=values", "synthesis=ridge"]
    plan = build(compose(words).config, tmp_path)
    answers = linear_answers(plan, plan.nodes[0], plan.data.test_x)
    assert target_measures("values", answers, plan.data.test_y)["own"] > 0.95
    assert Evaluator(plan).linear_score(plan.nodes[0]).own > 0.95
    twin = Ridge(alpha=0.01).fit(x, x[:, :2] * 3 + 1).predict(plan.data.test_x)
    place, spread = plan.data.task.target_location, plan.data.task.target_scale
    assert np.abs(answers * spread + place - twin).max() < 0.3


def test_a_lost_network_is_named_and_the_others_figures_stand(tmp_path, capsys) -> None:
    source = Path(__file__).parents[1] / "placement" / "lost_module.py"
    words = [
        "encoder.fit_images=300",
        "encoder.dimensions=48",
        "encoder.filters=8",
        "trainer.max_steps=40",
        "trainer.period_steps=10",
        "placement=simulate",
        "fleet.cnn.count=2",
        "fleet.linear.count=0",
        "model@fleet.mlp.model=module",
        "fleet.mlp.count=1",
        f"folder={tmp_path}",
    ]
    words.append(f"fleet.mlp.model.target={source.stem}.Lost")
    import sys

    sys.path.insert(0, str(source.parent))
    try:
        assert main(["run", *words]) == 0
        out = capsys.readouterr().out
        assert "mlp-0: the network is lost" in out
        (folder,) = tmp_path.iterdir()
        assert main(["report", str(folder), "--json"]) == 0
    finally:
        sys.path.remove(str(source.parent))
    summary = json.loads(capsys.readouterr().out)
    assert summary["lost"] == ["mlp-0"]
    rows = {row["name"]: row for row in summary["per_node"]}
    assert rows["mlp-0"]["lost"]
    assert rows["mlp-0"]["network"] == 0.0
    assert rows["mlp-0"]["own"] > 0.5
    assert rows["cnn-0"]["own"] > 0.5
    assert "mlp-0: the network is lost" in (folder / "report.html").read_text()
