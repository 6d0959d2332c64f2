"""A run from config to summary; its figures, its folder, its report."""

from __future__ import annotations

import json
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from qsynth.cli.main import main
from qsynth.errors import DataError
from qsynth.evaluation.evaluate import Score, _accuracy, summarise
from qsynth.experiment.build import build
from qsynth.recipe.compose import compose
from qsynth.report.events import pairs, routing
from tests.commands import Command

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "trainer.max_steps=40",
    "trainer.period_steps=10",
    "placement=simulate",
]

FIELDS = {
    "name",
    "recipe",
    "seed",
    "placement",
    "transport",
    "nodes",
    "architectures",
    "failures",
    "accuracy.own.mean",
    "accuracy.own.worst",
    "accuracy.own.sd",
    "accuracy.group",
    "accuracy.network.own.mean",
    "accuracy.network.own.worst",
    "predictor.head_weight_mean",
    "baseline.local.own.mean",
    "baseline.alone.own.worst",
    "baseline.alone.network.own.mean",
    "gain.over_local.own.mean",
    "gain.over_local.own.worst",
    "gain.over_alone.own.mean",
    "gain.over_alone.own.worst",
    "gain.over_alone.group",
    "gain.network.over_local",
    "gain.network.over_self_taught",
    "packets.published",
    "packets.fetched",
    "packets.admitted",
    "packets.rejected",
    "packets.bytes_mean",
    "packets.bytes_max",
    "traffic.bytes_total",
    "traffic.bytes_per_node_per_period",
    "traffic.by_message",
    "routing.lookups",
    "routing.rpcs_mean",
    "routing.rpcs_p95",
    "routing.rounds_mean",
    "routing.k",
    "routing.recall_at_k",
    "routing.same_group_share",
    "pairs.possible",
    "pairs.realised",
    "pairs.useful",
    "time.wall_s",
    "time.cpu_s",
    "time.cpu_s_local",
    "time.baseline_s",
    "memory.node_mib_mean",
}


def get(summary: dict, path: str):
    value = summary
    for part in path.split("."):
        value = value[part]
    return value


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[dict, Path]:
    folder = tmp_path_factory.mktemp("runs")
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main(["run", *SMALL, f"folder={folder}", "--json", "--quiet"]) == 0
    (made,) = folder.iterdir()
    return json.loads(out.getvalue().strip().splitlines()[-1]), made


def test_the_summary_has_every_field(run) -> None:
    summary, folder = run
    for field in FIELDS:
        get(summary, field)
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert summary["nodes"] == 8
    assert summary["architectures"] == 3
    assert summary["pairs"]["possible"] == 56
    assert summary["accuracy"]["group"] is None
    assert summary["transport"] == "memory"
    assert 0 < get(summary, "routing.recall_at_k") <= 1


def test_gains_are_differences_of_accuracies(run) -> None:
    summary, _ = run
    for arm, gain in (("local", "over_local"), ("alone", "over_alone")):
        own, base = summary["accuracy"]["own"]["mean"], summary["baseline"][arm]["own"]["mean"]
        assert get(summary, f"gain.{gain}.own.mean") == pytest.approx(own - base)
    network = summary["accuracy"]["network"]["own"]["mean"]
    taught = summary["baseline"]["alone"]["network"]["own"]["mean"]
    assert get(summary, "gain.network.over_self_taught") == pytest.approx(network - taught)


def test_the_run_folder_holds_everything(run) -> None:
    _, folder = run
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "config.yaml",
        "overrides.yaml",
        "recipe.lock",
        "events.jsonl",
        "metrics.csv",
        "summary.json",
        "report.html",
        "nodes",
    }
    nodes = list((folder / "nodes").iterdir())
    assert len(nodes) == 8
    for node in nodes:
        inside = {path.name for path in node.iterdir()}
        assert inside >= {"result.json", "predictor.pt", "checkpoint.ckpt", "events.jsonl"}
    lines = (folder / "metrics.csv").read_text().splitlines()
    assert lines[0] == "time,node,period,validation_accuracy"
    assert len(lines) == 1 + 8 * 5
    page = re.sub(r"<script>.*?</script>", "", (folder / "report.html").read_text(), flags=re.S)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)|https?://", page)
    assert "Whether the mesh helped" in page or "The mesh" in page or "not sure" in page


def test_bytes_add_up(run) -> None:
    summary, _ = run
    traffic = summary["traffic"]
    assert traffic["bytes_total"] == sum(v["bytes"] for v in traffic["by_message"].values())
    packets = summary["packets"]
    assert packets["published"] == 8
    assert packets["fetched"] == packets["admitted"] + sum(packets["rejected"].values())


def test_a_report_from_the_folder_is_the_summary_again(run, capsys) -> None:
    summary, folder = run
    assert main(["report", str(folder), "--json", "--quiet"]) == 0
    again = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    summary["time"].pop("baseline_s")
    again["time"].pop("baseline_s")
    assert again == summary


def test_a_run_of_an_older_version_is_read(run, capsys, tmp_path) -> None:
    summary, folder = run
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    values = yaml.safe_load((old / "config.yaml").read_text())
    values["synthesis"] |= {"combine": "sum"}
    values["synthesis"]["teach"] |= {"schedule": "fixed"}
    values["dht"] |= {"simhash_tables": 8, "simhash_bits": 4, "simhash_probes": 4}
    (old / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    assert main(["report", str(old), "--json", "--quiet", "--mine"]) == 0
    again = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert again["accuracy"] == summary["accuracy"]
    # What would be another run today is refused in one line.
    values["synthesis"]["combine"] = "median"
    (old / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    assert main(["report", str(old), "--quiet", "--mine"]) == 2
    told = capsys.readouterr().err
    assert "synthesis.combine=median: no such key" in told
    assert told.count("\n") == 1


@pytest.mark.slow
def test_baselines_are_kept(run, capsys, tmp_path) -> None:
    summary, _ = run
    assert main(["run", *SMALL, f"folder={tmp_path}", "--json", "--quiet"]) == 0
    again = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert again["time"]["baseline_s"] == 0
    assert again["baseline"] == summary["baseline"]
    assert again["accuracy"] == summary["accuracy"]


def test_own_arrays_of_vectors_run_by_their_sites(tmp_path, capsys) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(480) % 3
    x = rng.standard_normal((480, 6)) + 2 * np.eye(3)[y] @ rng.standard_normal((3, 6))
    np.savez(tmp_path / "sites.npz", x=x, y=y, node=np.arange(480) // 3 % 4)
    words = [
        "data=arrays",
        f"data.path={tmp_path}/sites.npz",
        "partition=natural",
        "encoder=seeded_fourier",
        "encoder.fit_inputs=300",
        "encoder.dimensions=32",
        "encoder.frequencies=64",
        "fleet.cnn.count=0",
        "fleet.linear.count=1",
        "trainer.max_steps=30",
        "trainer.period_steps=10",
        "placement=simulate",
        "synthesis.teach.inputs=own_mix",
        f"folder={tmp_path}/runs",
    ]
    assert main(["run", *words, "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["nodes"] == 4
    assert summary["accuracy"]["own"]["mean"] > 0.5


KNOWLEDGE = [
    ["distill=class_logits", "distill.max_bytes=512", "synthesis=class_kd"],
    [
        "distill=reference_logits",
        "distill.samples=64",
        "synthesis=reference_kd",
        "partition.samples_per_node=100",
    ],
]


@pytest.mark.slow
@pytest.mark.parametrize("rules", KNOWLEDGE, ids=["class_logits", "reference_logits"])
def test_networks_teach_networks(rules, tmp_path, capsys) -> None:
    words = [
        *SMALL,
        *rules,
        "trainer.max_steps=120",
        "trainer.period_steps=30",
        "fleet.mlp.count=2",
        "fleet.cnn.count=1",
        "fleet.linear.count=1",
        f"folder={tmp_path}",
    ]
    assert main(["run", *words, "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["failures"] == []
    assert summary["packets"]["rejected"] == {}
    # Their networks change, and with them what they publish: more than one packet a node.
    assert summary["packets"]["published"] >= 3 * summary["nodes"]
    assert summary["pairs"]["useful"] > 0
    assert summary["gain"]["network"]["over_self_taught"] != 0.0


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["hard", "head"])
def test_networks_learn_from_received_images(labels, tmp_path, capsys) -> None:
    words = [
        *SMALL,
        "distill=mosaic",
        "synthesis=replay",
        f"synthesis.teach.labels={labels}",
        "trainer.max_steps=60",
        "trainer.period_steps=20",
        "fleet.mlp.count=2",
        "fleet.cnn.count=1",
        "fleet.linear.count=1",
        f"folder={tmp_path}",
    ]
    assert main(["run", *words, "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["failures"] == []
    assert summary["packets"]["rejected"] == {}
    # Their data have not changed: one packet a node.
    assert summary["packets"]["published"] == summary["nodes"]
    assert summary["pairs"]["useful"] > 0
    assert summary["gain"]["network"]["over_self_taught"] != 0.0


def test_the_public_set_is_nobodys(tmp_path) -> None:
    words = [
        "distill=reference_logits",
        "distill.samples=64",
        "synthesis=reference_kd",
        "partition.samples_per_node=100",
        "partition.unlabelled_per_node=10",
    ]
    plan = build(compose([*SMALL, *words]).config, tmp_path)
    assert plan.reference is not None
    assert plan.reference.shape == (64, 1, 8, 8)
    held = {row.tobytes() for n in plan.nodes for row in plan.samples(n).train_x}
    held |= {row.tobytes() for n in plan.nodes for row in plan.samples(n).unlabelled_x}
    assert not held & {row.tobytes() for row in plan.reference}
    np.save(tmp_path / "own.npy", np.full((9, 1, 8, 8), 0.5))
    words.append(f"distill.file={tmp_path}/own.npy")
    plan = build(compose([*SMALL, *words]).config, tmp_path)
    assert plan.reference is not None
    assert plan.reference.shape == (9, 1, 8, 8)
    np.save(tmp_path / "own.npy", np.ones((9, 3, 8, 8)))
    with pytest.raises(DataError, match=r"distill\.file"):
        build(compose([*SMALL, *words]).config, tmp_path)


def test_further_inputs_of_ones_own_teach_each_site(tmp_path, capsys, rng) -> None:
    """`data.unlabelled`: each site gets its own, and the networks learn from them."""
    sites = np.arange(240) % 4
    y = rng.integers(0, 3, 240)
    x = (rng.standard_normal((240, 6)) + y[:, None]).astype(np.float32)
    np.savez(tmp_path / "own.npz", x=x, y=y, node=sites)
    more = (rng.standard_normal((400, 6)) + 1).astype(np.float32)
    owner = np.repeat(np.arange(4), 100)
    np.savez(tmp_path / "more.npz", x=more, node=owner)
    words = [
        "data=arrays",
        f"data.path={tmp_path}/own.npz",
        "partition=natural",
        f"data.unlabelled={tmp_path}/more.npz",
        "encoder=seeded_fourier",
        "encoder.dimensions=16",
        "fleet.cnn.count=0",
        "fleet.linear.count=0",
        "fleet.mlp.count=4",
        "synthesis.teach.inputs=unlabelled",
        "placement=simulate",
        "trainer.max_steps=6",
        "trainer.period_steps=2",
        "baselines=[]",
        "data.low=-5",
        "data.high=8",
    ]
    plan = build(compose(words).config, tmp_path)
    for node in plan.nodes:
        given = plan.samples(node).unlabelled_x
        assert np.array_equal(given, more[owner == node.share.site])
    assert main(["run", *words, f"folder={tmp_path}", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["failures"] == []
    dealt = build(compose([*words, "partition=iid"]).config, tmp_path)
    whole = np.concatenate([dealt.samples(node).unlabelled_x for node in dealt.nodes])
    assert {row.tobytes() for row in whole} == {row.tobytes() for row in more}
    np.savez(tmp_path / "more.npz", x=more[:, :5])
    with pytest.raises(DataError, match=r"data\.unlabelled"):
        build(compose(words).config, tmp_path)
    assert main(["run", *words, "partition.unlabelled_per_node=5", "--quiet"]) == 2
    assert "beside data.unlabelled" in capsys.readouterr().err


ERRORS = [
    (["synthesis=class_kd"], "distill=class_logits"),
    (["distill=class_logits", "synthesis=reference_kd"], "distill=reference_logits"),
    (["distill=reference_logits", "synthesis=reference_kd"], "held by no node"),
    (["+trainer.arguments.max_tim=1"], "did you mean max_time"),
    (["+trainer.arguments.callbacks=1"], "qsynth sets it itself"),
    (["+trainer.arguments.gradient_clip_val=.5"], "use trainer.gradient_clip_norm"),
    (["+trainer.arguments.precision=banana"], "trainer.arguments.precision=banana: "),
    (["trainer.logger=cvs"], "did you mean csv"),
    (["distill.max_bytes=1024", "distill.d=128"], "would fit"),
    (["data=arrays"], "needs an .npz"),
    (["data=fmnist", "data.root=/nowhere"], "digits_mesh"),
    (["partition=rotations", "partition.samples_per_node=5000"], "samples_per_node=5000"),
    (["fleet.mlp.count=900"], "partition"),
    (["encoder=seeded_fourier", "data=arrays", "data.path=x"], "no such .npz"),
]


@pytest.mark.parametrize(("words", "message"), ERRORS)
def test_what_cannot_be_built_is_one_line(words, message, capsys, tmp_path, monkeypatch) -> None:
    from qsynth.data import files

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(files.urllib.request, "urlopen", refuse)
    assert main(["run", *words, f"folder={tmp_path}"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_weighted_accuracy_is_the_expectation() -> None:
    scores, labels = np.eye(3)[[0, 1, 1, 2]], np.array([0, 1, 2, 2])
    assert _accuracy(scores, labels, np.ones(4)) == 0.75
    assert _accuracy(scores, labels, np.array([0.0, 0.0, 1.0, 1.0])) == 0.5


def test_summaries_without_groups_have_no_group_accuracy() -> None:
    made = summarise([Score(0.5, None, 0.4, 0.5, 0.5, 0.0), Score(0.7, None, 0.6, 0.5, 0.5, 0.0)])
    assert made["own"] == {"mean": pytest.approx(0.6), "worst": 0.5, "sd": pytest.approx(0.1)}
    assert made["group"] is None


def test_recall_is_measured_against_brute_force_over_what_was_alive() -> None:
    def publish(time, node, vector):
        print_ = np.array(vector, np.int8).tobytes().hex()
        return {"event": "publish", "time": time, "node": node, "version": 1, "fingerprint": print_}

    def lookup(began, found):
        return {
            "event": "lookup",
            "kind": "similar",
            "time": began + 1,
            "began": began,
            "rpcs": 2,
            "rounds": 1,
            "node": "a",
            "found": [[f, 1] for f in found],
        }

    events = [
        publish(0, "a", [100, 0]),
        publish(0, "b", [90, 10]),
        publish(0, "c", [0, 100]),
        lookup(1, ["B"]),
        lookup(1, ["C"]),
        publish(5, "d", [100, 1]),
        lookup(6, ["B"]),
    ]
    made = routing(events, {"A": "a", "B": "b", "C": "c", "D": "d"}, 1, {})
    assert made["recall_at_k"] == pytest.approx(1 / 3)
    assert made["rpcs_mean"] == 2.0
    # Whoever was dead when a lookup began is not missed.
    assert routing(events, {"B": "b", "D": "d"}, 1, {"d": 5.5})["recall_at_k"] == pytest.approx(
        2 / 3
    )


def test_pairs_are_directed_and_counted_once() -> None:
    results = {"a": {"id": "A", "group": 0}, "b": {"id": "B", "group": 1}}
    events = [{"event": "admit", "node": "a", "author": "B"}] * 2
    found, share = pairs(results, events)
    assert found == {"possible": 2, "realised": 1, "useful": 0}
    assert share == 0.0


def test_compose_is_pure() -> None:
    assert compose(["seed=2"]).config == compose(["seed=2"]).config


@pytest.mark.slow
def test_accuracy_over_time_is_measured_in_the_mesh_and_alone(run) -> None:
    summary, folder = run
    kept = json.loads((folder / "curves.json").read_text())
    assert kept["whole"] is True
    assert not list(folder.glob("nodes/*/points"))
    names = {row["name"] for row in summary["per_node"]}
    for arm in ("mesh", "alone"):
        assert set(kept[arm]) == names
        for points in kept[arm].values():
            assert [point[0] for point in points] == [0, 1, 2, 3, 4]
            values = [value for point in points for value in point[1:] if value is not None]
            assert all(0.0 <= value <= 1.0 for value in values)
            assert len(values) == 2 * len(points), "no true groups here"
    for row in summary["per_node"]:  # digits have fewer test samples than a point is measured on
        assert kept["mesh"][row["name"]][-1][1] == pytest.approx(row["own"], abs=1e-4)
        assert kept["alone"][row["name"]][-1][1] == pytest.approx(row["alone"], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("curves.json", "[]", 0),
        ("curves.json", '{"a": 1}', 0),
        ("times.json", "[]", 2),
        ("nodes/cnn-0/result.json", "[]", 0),
        ("nodes/cnn-0/result.json", '{"a": 1}', 0),
        ("nodes/cnn-0/predictor.pt", "torn", 0),
    ],
)
def test_a_report_goes_by_what_is_whole(run, tmp_path, capsys, name, text, code) -> None:
    shutil.copytree(run[1], tmp_path / "run")
    (tmp_path / "run" / name).write_text(text)
    assert main(["report", str(tmp_path / "run"), "--quiet"]) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert ("times.json" in said) == (code == 2)


@pytest.mark.slow
def test_workers_of_a_comparison_end_with_it(tmp_path) -> None:
    words = [
        "compare",
        "+recipe=digits_mesh",
        "arms=[local,semantic]",
        "seeds=[0,1]",
        *SMALL[:3],
        "trainer.max_steps=100000",
        f"folder={tmp_path}",
        "placement=simulate",
    ]
    process = Command(*words)
    children: set[int] = set()
    try:
        deadline = time.monotonic() + 60.0
        while len(children) < 2 and time.monotonic() < deadline:
            assert process.poll() is None
            listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            children = {int(pid) for pid in listed.split()}
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert len(children) >= 2
    deadline = time.monotonic() + 20.0
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [
        pid
        for pid in children
        if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
