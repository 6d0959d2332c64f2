"""Predictors in use: answers to tables, pictures and arrays, and files for other programs."""

from __future__ import annotations

import csv as csv_format
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from qsynth.cli.main import main
from qsynth.encoder import make_encoder
from qsynth.encoder.config import Identity
from qsynth.errors import DataError
from qsynth.inference.export import export
from qsynth.inference.predict import header
from qsynth.model import make_network
from qsynth.model.base import described
from qsynth.model.mlp import MLP
from qsynth.pipeline.target_predictor import TargetPredictor, make_predictor
from qsynth.synthesis.head import Head
from qsynth.training.export import load_predictor, save_predictor
from qsynth.types import Task
from tests.data.test_table import ROWS, csv, load, rows

pytest.importorskip("pyarrow")


def saved(task: Task, path: Path, rng) -> torch.nn.Module:
    """A predictor of a task with an untrained network and some head, in a file."""
    torch.manual_seed(0)
    network, encoder = make_network(MLP(width=8), task), make_encoder(Identity(), task)
    predictor = make_predictor(network, encoder, task)
    head = Head(rng.normal(size=(encoder.dimensions, task.classes)), rng.normal(size=task.classes))
    predictor.set_head(head, np.zeros(task.classes), 0.7, 1.0)
    if isinstance(predictor, TargetPredictor):
        errors = rng.normal(size=(50, task.classes))
        predictor.set_width(errors, np.zeros_like(errors))
    from dataclasses import asdict

    save_predictor(predictor, path, asdict(Identity()), described(MLP(width=8)))
    return predictor.eval()


def answers(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv_format.DictReader(file))


def test_every_row_of_a_table_gets_its_answer(tmp_path, rng, capsys) -> None:
    columns = rows(rng)
    columns["sugar"][2] = ""
    table = csv(tmp_path / "t.csv", columns)
    data = load(table)
    predictor = saved(data.task, tmp_path / "predictor.pt", rng)
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path), table, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    made = answers(out)
    assert [row["row"] for row in made] == [str(i) for i in range(ROWS)]
    assert (
        list(made[0])
        == header(data.task)
        == ["row", "prediction", "probability", "p:sick", "p:well"]
    )
    with torch.no_grad():
        logs = predictor(torch.from_numpy(data.test_x)).numpy()
    for row, label, log in zip(data.test_rows, data.test_y, logs, strict=True):
        assert made[row]["prediction"] == data.task.labels[log.argmax()]
        assert float(made[row]["p:sick"]) == pytest.approx(np.exp(log[0]), abs=1e-6)
        assert columns["diagnosis"][row] == data.task.labels[label]
    right = [row["prediction"] == d for row, d in zip(made, columns["diagnosis"], strict=True)]
    assert told["accuracy"] == np.mean(right)
    assert told["known"] == told["rows"] == ROWS
    assert not list(tmp_path.glob("*.part"))
    # Without answers, in another order, with strange levels: the same answers to the same rows.
    del columns["diagnosis"], columns["clinic"]
    columns["ward"][5] = "north"
    turned = {name: values[::-1] for name, values in reversed(columns.items())}
    other = csv(tmp_path / "new.tsv", turned, "\t")
    assert (
        main(["predict", str(tmp_path / "predictor.pt"), other, "--out", str(out), "--json"]) == 0
    )
    said = capsys.readouterr()
    assert "column ward: north: not known to the predictor" in said.err
    assert json.loads(said.out)["known"] == 0
    again = answers(out)[::-1]
    for at, (one, two) in enumerate(zip(made, again, strict=True)):
        assert at == 5 or one["p:sick"] == two["p:sick"]


def test_answers_stand_on_standard_output_without_a_file(tmp_path, rng, capsys) -> None:
    table = csv(tmp_path / "t.csv", rows(rng))
    saved(load(table).task, tmp_path / "predictor.pt", rng)
    assert main(["predict", str(tmp_path), table]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == ROWS + 1
    assert f"of {ROWS} rows whose answer the data tell: accuracy" in said.err


def test_values_come_with_an_interval_that_covers_nine_in_ten(tmp_path, rng, capsys) -> None:
    table = csv(tmp_path / "t.csv", rows(rng))
    data = load(table, label="sugar", kind="values")
    predictor = saved(data.task, tmp_path / "predictor.pt", rng)
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path), table, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"variance_explained", "mean_error"} <= set(told)
    first = answers(out)[0]
    width = predictor.half_width_in_units()[0]
    assert float(first["sugar high"]) - float(first["sugar"]) == pytest.approx(width, rel=1e-4)
    errors = rng.normal(size=(2000, 1))
    predictor.set_width(errors[:1000], np.zeros((1000, 1)))
    covered = np.abs(errors[1000:]) <= predictor.half_width.numpy()
    assert 0.85 < covered.mean() < 0.95
    predictor.half_width.fill_(torch.inf)
    predictor.set_width(errors[:5], np.zeros((5, 1)))  # too few to tell
    assert np.isinf(predictor.half_width.numpy()).all()


def test_arrays_are_answered(tmp_path, rng, capsys) -> None:
    x = rng.normal(size=(40, 3)).astype(np.float32)
    task = Task("t", 1, ("a", "b"), "vector", (3,), "", -3.0, 3.0, (0.0,), (1.0,))
    saved(task, tmp_path / "predictor.pt", rng)
    np.savez(tmp_path / "x.npz", x=x, y=np.array(["a", "b"] * 20))
    assert main(["predict", str(tmp_path), str(tmp_path / "x.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"] == 40
    np.savez(tmp_path / "wide.npz", x=np.zeros((4, 5)))
    assert main(["predict", str(tmp_path), str(tmp_path / "wide.npz")]) == 2
    assert "wide.npz" in capsys.readouterr().err


def test_pictures_are_answered_by_their_file(tmp_path, rng, capsys) -> None:
    image = pytest.importorskip("PIL.Image")
    task = Task("t", 1, ("cat", "dog"), "image", (3, 8, 8), "colour", 0.0, 1.0)
    saved(task, tmp_path / "predictor.pt", rng)
    for name in ("new/dog/1.png", "new/cat/2.png", "new/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(tmp_path / name)
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path), str(tmp_path / "new"), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"] == 2
    assert [row["row"] for row in answers(out)] == ["3.png", "cat/2.png", "dog/1.png"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predictor.pt"], "predict: needs a predictor and data"),
        (["nothing", "t.csv"], "nothing: no predictor there"),
        (["predictor.pt", "lacking.csv"], "has no column age, which the task needs"),
        (["predictor.pt", "t.csv", "--prior", "flat"], "--prior=flat: must be own or uniform"),
        (["t.csv", "t.csv"], "not a predictor that qsynth wrote"),
    ],
)
def test_mistakes_are_told_in_one_line(words, said, tmp_path, rng, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    columns = rows(rng)
    saved(load(csv(tmp_path / "t.csv", columns)).task, tmp_path / "predictor.pt", rng)
    del columns["age"]
    csv(tmp_path / "lacking.csv", columns)
    assert main(["predict", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_node_of_a_run_is_named(tmp_path, rng, capsys) -> None:
    table = csv(tmp_path / "t.csv", rows(rng))
    task = load(table).task
    for node in ("a", "b"):
        (tmp_path / "nodes" / node).mkdir(parents=True)
        saved(task, tmp_path / "nodes" / node / "predictor.pt", rng)
    assert main(["predict", str(tmp_path), table]) == 2
    assert "whose predictor? --node NAME, of a, b" in capsys.readouterr().err
    assert main(["predict", str(tmp_path), table, "--node", "b", "--json"]) == 0
    assert "/b/" in json.loads(capsys.readouterr().out)["predictor"]
    shutil.rmtree(tmp_path / "nodes" / "a")  # the only one needs no name
    assert main(["predict", str(tmp_path), table, "--json"]) == 0
    assert "/b/" in json.loads(capsys.readouterr().out)["predictor"]


def test_a_file_from_before_there_were_intervals_is_read(tmp_path, rng) -> None:
    task = Task("t", 1, ("a", "b"), "vector", (3,), "", -3.0, 3.0, (0.0,), (1.0,))
    saved(task, tmp_path / "predictor.pt", rng)
    stored = torch.load(tmp_path / "predictor.pt", weights_only=True)
    del stored["state"]["half_width"], stored["task"]["columns"], stored["task"]["label"]
    torch.save(stored, tmp_path / "old.pt")
    assert np.isinf(load_predictor(tmp_path / "old.pt").half_width.numpy()).all()


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_an_exported_file_answers_as_the_predictor(kind, tmp_path, rng, capsys) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
    table = csv(tmp_path / "t.csv", rows(rng))
    data = load(table)
    predictor = saved(data.task, tmp_path / "predictor.pt", rng)
    out = tmp_path / f"p.{kind}"
    assert main(["export", str(tmp_path), table, f"--{kind}", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[kind]["apart"] <= 1e-5
    with torch.no_grad():
        wanted = np.exp(predictor(torch.from_numpy(data.test_x)).numpy())
    if kind == "onnx":
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
        got = session.run(None, {"inputs": data.test_x})[0]
        meta = json.loads(session.get_modelmeta().custom_metadata_map["qsynth"])
    else:
        extra = {"qsynth.json": ""}
        program = torch.export.load(out, extra_files=extra)
        got = program.module()(torch.from_numpy(data.test_x)).detach().numpy()
        meta = json.loads(extra["qsynth.json"])
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert meta["labels"] == ["sick", "well"]
    assert meta["features"] == ["age", "seen", "sugar", "ward=east", "ward=west"]


def test_a_file_that_answers_otherwise_is_not_kept(tmp_path, rng, monkeypatch) -> None:
    table = csv(tmp_path / "t.csv", rows(rng))
    task = load(table).task
    saved(task, tmp_path / "predictor.pt", rng)
    predictor = load_predictor(tmp_path / "predictor.pt")
    monkeypatch.setattr("qsynth.inference.export._apart", lambda *_: float("nan"))
    with pytest.raises(DataError, match="from the predictor's: not kept"):
        export(predictor, tmp_path / "p.pt2", "torch")
    assert not list(tmp_path.glob("p.pt2*"))


def test_a_run_of_a_table_is_answered_again_to_the_same_figures(tmp_path, rng, capsys) -> None:
    columns = rows(rng)
    columns["clinic"] = ["Köln am Rhein" if c == "A" else "B" for c in columns["clinic"]]
    table = csv(tmp_path / "t.csv", columns)
    words = ["data=table", f"data.path={table}", "data.label=diagnosis", "data.site=clinic"]
    words += [
        "trainer.max_steps=10",
        "trainer.period_steps=5",
        "baselines=[]",
        f"folder={tmp_path}",
    ]
    assert main(["run", *words, "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["name"] == "t"
    (folder,) = tmp_path.glob("*-t-*")
    assert sorted(each.name for each in (folder / "nodes").iterdir()) == ["B", "K_ln_am_Rhein"]
    out = tmp_path / "out.csv"
    assert main(["predict", str(folder), "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["mean"]["accuracy"] == summary["accuracy"]["own"]["mean"]
    made = answers(out)
    assert len(made) == sum(node["rows"] for node in told["nodes"].values())
    for row in made:
        site, at = row["row"].split(":")
        assert columns["clinic"][int(at)][0] == site[0]
    assert main(["predict", str(folder), "--node", "C"]) == 2
    assert "--node=C: must be one of B, K_ln_am_Rhein" in capsys.readouterr().err


def test_truth_that_is_none_is_refused_not_measured(tmp_path, rng, capsys) -> None:
    columns = rows(rng)
    table = csv(tmp_path / "t.csv", columns)
    saved(load(table).task, tmp_path / "predictor.pt", rng)
    for more, said in (
        (["--label", "nosuch"], "data.label=nosuch"),
        (["--label", "age,sugar"], "the predictor tells 1: diagnosis"),
        (["data.label_map.sick=ill"], "data.label_map.sick=ill: no label of the predictor"),
    ):
        assert main(["predict", str(tmp_path), table, *more, "--json"]) == 2
        assert said in capsys.readouterr().err
    x = rng.normal(size=(20, 3)).astype(np.float32)
    task = Task("t", 1, ("a", "b"), "vector", (3,), "", -9.0, 9.0, (0.0,), (1.0,))
    saved(task, tmp_path / "predictor.pt", rng)
    for y in (np.full(20, 0.5), np.full(20, 7), np.zeros(3, int), np.eye(2)[np.zeros(20, int)]):
        np.savez(tmp_path / "x.npz", x=x, y=y)
        assert main(["predict", str(tmp_path), str(tmp_path / "x.npz"), "--json"]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_predictor_of_somebodys_is_refused_where_it_is_none(tmp_path, rng) -> None:
    task = load(csv(tmp_path / "t.csv", rows(rng))).task
    saved(task, tmp_path / "predictor.pt", rng)

    def changed(change) -> Path:
        stored = torch.load(tmp_path / "predictor.pt", weights_only=True)
        change(stored)
        torch.save(stored, tmp_path / "changed.pt")
        return tmp_path / "changed.pt"

    for change in (
        lambda s: s["task"]["columns"][0].update(levels=[1, 2]),
        lambda s: s["task"]["columns"][0].update(name=5),
        lambda s: s.update(state=[1]),
        lambda s: s["state"]["head_bias"].fill_(torch.nan),
    ):
        with pytest.raises(DataError, match="not a predictor that qsynth wrote"):
            load_predictor(changed(change))


def test_a_run_whose_data_have_changed_is_not_measured_on_others(tmp_path, rng, capsys) -> None:
    columns = rows(rng)
    table = csv(tmp_path / "t.csv", columns)
    words = ["data=table", f"data.path={table}", "data.label=diagnosis", "data.site=clinic"]
    words += ["trainer.max_steps=4", "trainer.period_steps=2", "baselines=[]", f"folder={tmp_path}"]
    assert main(["run", *words, "--quiet"]) == 0
    csv(tmp_path / "t.csv", {name: values[::-1] for name, values in columns.items()})
    (folder,) = tmp_path.glob("*-t-*")
    capsys.readouterr()
    assert main(["predict", str(folder)]) == 2
    assert "are not those that this run began with" in capsys.readouterr().err


def test_what_stood_for_nothing_in_training_does_so_in_use(tmp_path, rng) -> None:
    columns = rows(rng)
    columns["age"][::7] = [-9] * len(columns["age"][::7])
    table = csv(tmp_path / "t.csv", columns)
    data = load(table, missing=(-9,))
    saved(data.task, tmp_path / "predictor.pt", rng)
    out = tmp_path / "out.csv"
    assert main(["predict", str(tmp_path), table, "--out", str(out), "--quiet"]) == 0
    columns["age"] = ["" if a == -9 else a for a in columns["age"]]
    plain = csv(tmp_path / "u.csv", columns)
    again = tmp_path / "again.csv"
    assert main(["predict", str(tmp_path), plain, "--out", str(again), "--quiet"]) == 0
    assert out.read_text() == again.read_text()


def test_labels_that_the_predictor_does_not_know_are_told(tmp_path, rng, capsys) -> None:
    columns = rows(rng)
    saved(load(csv(tmp_path / "t.csv", columns)).task, tmp_path / "predictor.pt", rng)
    columns["diagnosis"] = ["krank" if d == "sick" else "gesund" for d in columns["diagnosis"]]
    other = csv(tmp_path / "u.csv", columns)
    assert main(["predict", str(tmp_path), other, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["known"] == 0
    assert "column diagnosis: gesund, krank: no label of the predictor" in said.err
    words = ["data.label_map.krank=sick", "data.label_map.gesund=well"]
    assert main(["predict", str(tmp_path), other, *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["known"] == ROWS


def test_an_exported_file_says_what_stands_for_what_is_missing(tmp_path, rng) -> None:
    task = load(csv(tmp_path / "t.csv", rows(rng)), indicate=True).task
    predictor = saved(task, tmp_path / "predictor.pt", rng)
    from qsynth.inference.export import described as told

    made = told(predictor)
    assert len(made["imputed"]) == len(made["features"])
    place = dict(zip(made["features"], made["imputed"], strict=True))
    assert place["ward=east"] == 0.0
    assert place["age"] == pytest.approx(task.location[0])


def test_rows_of_a_folder_are_those_of_their_own_file(tmp_path, rng) -> None:
    (tmp_path / "sites").mkdir()
    for site in "AB":
        csv(tmp_path / "sites" / f"{site}.csv", rows(rng, 30))
    saved(load(str(tmp_path / "sites"), site="").task, tmp_path / "predictor.pt", rng)
    out = tmp_path / "out.csv"
    words = ["predict", str(tmp_path), str(tmp_path / "sites"), "--out", str(out), "--quiet"]
    assert main(words) == 0
    assert [row["row"] for row in answers(out)] == [f"{s}:{at}" for s in "AB" for at in range(30)]
