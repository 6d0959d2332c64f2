"""Arms side by side: what is run, what is kept, what the figures say."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.config.run import ARMS, check_arm, default_arms
from qsynth.errors import ConfigError
from qsynth.evaluation.metrics import auroc, balanced_accuracy, calibration_error
from qsynth.experiment.arms import CHANGES, mesh_config
from qsynth.experiment.compare import best_setting, interval, summarise_arm, summarise_newcomers
from qsynth.recipe.compose import compose

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "trainer.max_steps=30",
    "trainer.period_steps=10",
]
SAME = ["fleet.cnn.count=0", "fleet.linear.count=0", "fleet.mlp.count=4"]
DRIFT = ["partition=rotations", "partition.drift_period=1", "partition.samples_per_node=50"]
FIELDS = {
    "arm",
    "seeds",
    "own_mean",
    "own_sd",
    "own_worst",
    "group_mean",
    "network_mean",
    "gain_mean",
    "gain_low",
    "gain_high",
    "harmed_share",
    "bytes_per_node",
}


def run(capsys, folder: Path, *words: str) -> tuple[list[dict], str]:
    code = main(["compare", *SMALL, *SAME, f"folder={folder}", "--json", *words])
    out = capsys.readouterr()
    assert code == 0, out.err
    return [json.loads(line) for line in out.out.strip().splitlines()], out.err


@pytest.mark.slow
def test_every_arm_gives_a_row_a_file_and_a_plot(capsys, tmp_path) -> None:
    # sqmd needs samples that no node holds: tests/rivals/test_messengers.py
    apart = ("oracle", "fedavg_oracle", "fedavg_head_oracle", "sqmd")
    arms = [a for a in ARMS if a not in apart]
    arms += ["all_ungated"]
    # The rule with a gate, which one of the arms takes away.
    words = ["synthesis=analytic_head", f"arms=[{','.join(arms)}]", "seeds=[0]"]
    rows, _ = run(capsys, tmp_path, *words)
    assert [row["arm"] for row in rows] == arms
    for row in rows:
        assert set(row) >= FIELDS
        assert 0 < row["own_worst"] <= row["own_mean"] <= 1
    by = {row["arm"]: row for row in rows}
    assert by["best_alone"]["gain_mean"] == 0
    assert by["best_alone"]["own_mean"] >= max(by["alone"]["own_mean"], by["local"]["own_mean"])
    assert by["semantic"]["bytes_per_node"] > by["central"]["bytes_per_node"] > 0
    assert by["local"]["bytes_per_node"] == 0
    assert by["fedavg"]["bytes_per_node"] > 0
    (folder,) = tmp_path.iterdir()
    assert json.loads((folder / "compare.json").read_text()) == rows
    with (folder / "compare.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(line["own_mean"]) for line in table] == [row["own_mean"] for row in rows]
    assert "<svg" in (folder / "compare.svg").read_text()


@pytest.mark.slow
def test_a_finished_arm_is_not_run_again(capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("QSYNTH_CACHE_DIR", str(tmp_path / "cache"))
    first, _ = run(capsys, tmp_path / "a", "arms=[semantic,random]", "seeds=[1]")
    second, told = run(capsys, tmp_path / "b", "arms=[semantic,random]", "seeds=[1]")
    assert first == second
    assert told.count("(kept)") == 5
    third, told = run(capsys, tmp_path / "c", "arms=[random]", "seeds=[1]", "peers.k=2")
    assert told.count("(kept)") == 3  # the arms without peers do not depend on k
    assert third[0]["used_mean"] <= 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["arms=[semantik]"], "arms=semantik: no such arm; did you mean semantic?"),
        (["arms=[local_ungated]"], "arms=local_ungated: no such arm"),
        (["arms=[oracle]"], "needs true groups"),
        (["arms=5"], "must be a list of names"),
        (["seeds=[a]"], "must be a list of whole numbers"),
        (["seeds=[1,1]"], "needs different whole numbers"),
        (["seeds=[-1]"], "needs different whole numbers from 0"),
        (["arms=[pens]", "fleet.mlp.count=1"], "at least two nodes"),
        (["arms=[oracle_ungated]"], "needs true groups"),
        ([*DRIFT, "arms=[fedavg]"], "follow drift"),
        ([*DRIFT, "partition.drift_period=9"], "must be < 3"),
        (["arms=[sqmd]"], "needs a public set of 256"),
        (["arms=[fedavg]", "fleet.cnn.count=1"], "needs one architecture"),
        (["arms=[fedproto]", "fleet.cnn.count=1"], "embeddings of one length"),
    ],
)
def test_a_mistake_is_one_line(capsys, tmp_path, words, said) -> None:
    assert main(["compare", *SMALL, *SAME, f"folder={tmp_path}", *words]) == 2
    out = capsys.readouterr()
    assert said in out.err
    assert len(out.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_oracle_outside_a_simulation_is_refused(capsys) -> None:
    assert main(["run", "peers=oracle", "peers.k=3"]) == 2
    assert "placement=simulate" in capsys.readouterr().err


def test_a_rule_without_a_gate_has_no_ungated_arm() -> None:
    config = compose([*SMALL, "distill=class_logits", "synthesis=class_kd"]).config
    with pytest.raises(ConfigError, match="no gate"):
        check_arm(config, "semantic_ungated")
    check_arm(config, "semantic")
    assert mesh_config(config, "head").synthesis.teach.weight == 0.0


def test_each_mesh_arm_changes_what_it_says_and_nothing_else() -> None:
    config = compose([*SMALL, "synthesis=analytic_head"]).config
    assert mesh_config(config, "semantic").peers == config.peers
    ungated = mesh_config(config, "random_ungated")
    assert (ungated.peers.name, ungated.peers.k) == ("random", config.peers.k)
    assert ungated.synthesis.gate == "none"
    head = mesh_config(config, "head")
    assert (head.trainer.max_steps, head.trainer.period_steps) == (3, 1)
    assert head.synthesis.head_weight == 1.0
    assert set(CHANGES) == {name for name, arm in ARMS.items() if arm.kind == "mesh"}


def test_the_default_arms_are_those_that_the_partition_can_have(capsys, tmp_path) -> None:
    assert "oracle" not in default_arms(compose(SMALL).config)
    assert "oracle" in default_arms(compose([*SMALL, "partition=rotations"]).config)
    assert "oracle" not in default_arms(compose([*SMALL, *DRIFT]).config)
    # The example of the help screen, which names no arm.
    rows, _ = run(capsys, tmp_path, "seeds=[0]")
    assert [row["arm"] for row in rows] == default_arms(compose(SMALL).config)


def test_a_mistyped_arm_is_answered_before_torch_is_imported() -> None:
    code = (
        "import sys; from qsynth.cli.main import main;"
        "code = main(['compare', 'arms=[semantik]']); assert code == 2;"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "did you mean semantic?" in done.stderr


def score(own: float) -> dict:
    return {
        "network_group": None,
        "own": own,
        "group": None,
        "network_own": own,
        "balanced": own,
        "auroc": own,
        "ece": 0,
    }


def test_gains_are_paired_and_harm_is_more_than_a_point() -> None:
    reference = [{"a": score(0.5), "b": score(0.6)}, {"a": score(0.4), "b": score(0.6)}]
    runs = [
        {"scores": {"a": score(0.6), "b": score(0.595)}, "bytes_per_node": 10.0},
        {"scores": {"a": score(0.6), "b": score(0.58)}, "bytes_per_node": 20.0},
    ]
    row = summarise_arm(runs, reference)
    assert row["gain_mean"] == pytest.approx((0.0475 + 0.09) / 2)
    assert row["harmed_share"] == 0.25
    assert row["own_worst"] == 0.58
    assert row["bytes_per_node"] == 15.0
    assert row["group_mean"] is None
    assert row["gain_low"] < row["gain_mean"] < row["gain_high"]


def test_where_classes_are_rare_gains_are_of_balanced_accuracy() -> None:
    rare = score(0.98) | {"balanced": 0.5}
    found = score(0.9) | {"balanced": 0.8}
    assert best_setting("own", [{"settings": {"a": {"n": rare}, "b": {"n": found}}}]) == "a"
    assert best_setting("balanced", [{"settings": {"a": {"n": rare}, "b": {"n": found}}}]) == "b"
    row = summarise_arm([{"scores": {"n": found}}], [{"n": rare}], "balanced")
    assert row["gain_mean"] == pytest.approx(0.3)
    assert row["gain_of"] == "balanced"


def test_newcomers_have_figures_of_their_own() -> None:
    runs = [{"scores": {"old": score(0.9), "new": score(0.7)}}]
    reference = [{"old": score(0.8), "new": score(0.5)}]
    row = summarise_newcomers(runs, reference, "own", {"new"})
    assert row["newcomer_own"] == 0.7
    assert row["newcomer_gain"] == pytest.approx(0.2)
    assert summarise_newcomers(runs, reference, "own", set())["newcomer_gain"] is None


def test_the_interval_is_students() -> None:
    from scipy.stats import ttest_1samp

    values = [0.1, 0.3, 0.25, 0.2]
    twin = ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert interval(values) == pytest.approx((twin.low, twin.high))
    assert interval([0.1]) == (None, None)


def test_the_best_setting_is_best_over_all_seeds() -> None:
    taught = [{"settings": {"a": {"n": score(0.9)}}}, {"settings": {"a": {"n": score(0.1)}}}]
    other = [{"settings": {"b": {"n": score(0.6)}}}, {"settings": {"b": {"n": score(0.6)}}}]
    assert best_setting("own", taught, other) == "b"


def test_metrics_agree_with_a_library() -> None:
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 300)
    scores = rng.standard_normal((300, 4)) + 1.5 * np.eye(4)[labels]
    ones = np.ones(300)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    twin = np.mean([roc_auc_score(labels == c, logs[:, c]) for c in range(4)])
    assert auroc(scores, labels, ones) == pytest.approx(twin)
    twin = balanced_accuracy_score(labels, scores.argmax(axis=1))
    assert balanced_accuracy(scores, labels, ones) == pytest.approx(twin)
    # A predictor that is always sure and right half of the time is off by half.
    sure = np.where(np.eye(2)[np.zeros(10, int)] > 0, 50.0, 0.0)
    half = np.arange(10) % 2
    assert calibration_error(sure, half, np.ones(10)) == pytest.approx(0.5)
