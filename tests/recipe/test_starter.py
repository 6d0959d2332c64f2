"""`qsynth new`: what it writes runs at once, and its own tests pass."""

from __future__ import annotations

import json
import runpy
import sys

import pytest

from qsynth.cli.main import main
from tests.data.test_table import csv, rows

pytest.importorskip("pyarrow")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "label"), [("classes", "diagnosis"), ("values", "sugar"), ("labels", "a,b")]
)
def test_a_new_folder_runs_at_once(kind, label, tmp_path, rng, capsys, monkeypatch) -> None:
    columns = rows(rng)
    columns["a"], columns["b"] = (rng.integers(0, 2, 80).tolist() for _ in range(2))
    (tmp_path / "sites").mkdir()
    for site in "AB":
        mine = [i for i, c in enumerate(columns["clinic"]) if c == site]
        kept = {k: [v[i] for i in mine] for k, v in columns.items() if k != "clinic"}
        csv(tmp_path / "sites" / f"{site}.csv", kept)
    monkeypatch.chdir(tmp_path)
    assert main(["new", "mine", "sites", "--label", label, f"data.kind={kind}"]) == 0
    assert main(["new", "mine", "sites", "--label", label]) == 2
    assert "mine: is not empty" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    sys.modules.pop("network", None)
    tests = runpy.run_path("test_recipe.py")  # its own tests, as its reader would run them
    ran = [test() for name, test in tests.items() if name.startswith("test_")]
    assert len(ran) == 3
    if kind == "classes":
        capsys.readouterr()
        words = ["run", "+recipe=recipe.yaml", "data.path=../sites", "--trust", "network.Net"]
        words += ["trainer.max_steps=10", "trainer.period_steps=5", "--quiet", "--json"]
        assert main(words) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["failures"] == []
        assert summary["packets"]["admitted"] == 2
    sys.modules.pop("network", None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine"], "new: needs a folder and a table"),
        (["mine", "none.csv"], "none.csv: no such file"),
        (["mine", "x.npz", "--label", "y"], "data.label="),
    ],
)
def test_what_cannot_begin_is_told(words, said, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()
