"""Every shipped recipe, run small: fewer steps, a smaller encoder, the same fleet and rules."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from qsynth.cli.main import main
from qsynth.recipe.catalog import listed
from qsynth.recipe.compose import compose
from tests.data.test_table import csv

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
MADE = {
    "natural": "digit_writers.py",
    "text": "scipy_sentences.py",
    "attributes": "digit_attributes.py",
    "progression": "diabetes.py",
    "series": "fmnist_series.py",
    "wisdm": "wisdm.py",
    "newsite": "wisdm.py",
    "heart": "heart.py",
    "beijing": "beijing.py",
}
# Where the public originals lie, below the folder of real data.
SITES = {
    "wisdm": "sites/wisdm36/WISDM_ar_v1.1_transformed.arff",
    "newsite": "sites/wisdm36/WISDM_ar_v1.1_transformed.arff",
    "heart": "sites/heart4",
    "beijing": "sites/beijing_air12",
    "pacs": "sites/pacs",
    "pictures": "sites/pacs",
}
PRETRAINED = ("pacs", "pictures", "cifar_pretrained")
TRUSTED = ("WordNetwork", "sentence_encoder")
SMALL = ["encoder.dimensions=48", "placement=simulate", "baselines=[]", "trainer.curve_points=1"]
IMAGES = ["encoder.fit_images=300", "encoder.filters=8"]


def small(name: str) -> list[str]:
    """Return overrides that leave what a recipe shows, and little of its work."""
    trusted = [f"scipy_sentences.{part}" for part in TRUSTED]
    config = compose([f"+recipe={name}"], trusted).config
    steps = 8 if name == "drift" else 2
    words = [f"+recipe={name}", *SMALL, f"trainer.max_steps={steps}", "trainer.period_steps=1"]
    if config.encoder.name == "seeded_conv":
        words += IMAGES
    if config.synthesis.teach.pool_size > 128:
        words.append("synthesis.teach.pool_size=128")
    if config.synthesis.d is not None:
        words.append("synthesis.d=48")
    sizes = getattr(config.partition, "group_sizes", ())
    some = name.startswith("fmnist") and not sizes
    if some or name.endswith("crowd") or name == "cifar_mesh":
        words += [f"fleet.{group}.count=2" for group in config.fleet]  # still two of a group
    if name == "cifar_pretrained":
        words += [f"fleet.{group}.count=2" for group in config.fleet]
    if name.endswith("native"):  # full-size images: half of the nodes, a part of their samples
        words += [f"fleet.{group}.count=2" for group in config.fleet]
        words.append("partition.samples_per_node=200")
    if name == "scaling_law":
        words.append("fleet.mlp.count=16")  # the first point of its curve
    if name in PRETRAINED:
        words += ["encoder.side=32", "data.side=32" if name in SITES else "trainer.period_steps=2"]
    if config.partition.unlabelled_per_node:
        words.append("partition.unlabelled_per_node=20")
    return words


def original(name: str, data: str | None) -> str:
    """Return the public original of a recipe's data, below a folder; skip where it is not here."""
    if not data or not (path := Path(data) / SITES[name]).exists():
        pytest.skip(f"QSYNTH_DATA_DIR/{SITES[name]} is not here")
    return str(path)


def fewer_sites(file: Path, name: str) -> list[str]:
    """Leave a dozen sites in a file, and return the overrides that leave as many nodes."""
    with np.load(file) as kept:
        arrays = dict(kept)
    few = np.isin(arrays["node"], np.unique(arrays["node"])[:12])
    np.savez(file, **{key: a[few] if len(a) == len(few) else a for key, a in arrays.items()})
    return [f"fleet.{group}.count=4" for group in compose([f"+recipe={name}"]).config.fleet]


def table_of_patients(folder: Path) -> list[str]:
    """Write the breast-cancer table as a clinic would; return what is said of it."""
    pytest.importorskip("pyarrow", reason="needs the extra `table`")
    patients = load_breast_cancer()
    columns = dict(zip(patients.feature_names, patients.data.T.tolist(), strict=True))
    columns["mean area"][::20] = [""] * len(columns["mean area"][::20])
    columns["diagnosis"] = [patients.target_names[label] for label in patients.target]
    columns["clinic"] = [("Aachen", "Bonn", "Celle")[row % 3] for row in range(len(patients.data))]
    csv(folder / "patients.csv", columns)
    return [f"data.path={folder / 'patients.csv'}", "data.label=diagnosis", "data.site=clinic"]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(listed()))
def test_a_recipe_runs_small(name: str, request, tmp_path, capsys, monkeypatch) -> None:
    words = [*small(name), f"folder={tmp_path}"]
    if name in PRETRAINED:
        pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra `vision`")
    if name in SITES and name in PRETRAINED:
        words.append(f"data.path={original(name, os.environ.get('QSYNTH_DATA_DIR'))}")
    elif name == "table":
        words += table_of_patients(tmp_path)
    elif name in MADE:
        if name == "text":
            pytest.importorskip("wordllama", reason="needs the extra `text`")
            monkeypatch.syspath_prepend(str(EXAMPLES))
            words += [f"--trust=scipy_sentences.{part}" for part in TRUSTED]
        file = tmp_path / "made.npz"
        script = EXAMPLES / MADE[name]
        made = [sys.executable, str(script), str(file)]
        if name == "series":
            made.append(str(request.getfixturevalue("small_data")))
        if name in SITES:
            made.append(original(name, os.environ.get("QSYNTH_DATA_DIR")))
        subprocess.run(made, check=True, timeout=300)
        if name in ("wisdm", "newsite"):
            words += fewer_sites(file, name)
        words.append(f"data.path={file}")
    elif not name.startswith("digits"):
        words.append(f"data.root={request.getfixturevalue('small_data')}")
    assert main(["run", *words, "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["failures"] == []
    assert summary["packets"]["rejected"] == {}
    assert summary["packets"]["admitted"] > 0
    if name not in ("progression", "beijing"):  # eight steps explain nothing of a number
        assert 0.1 < summary["accuracy"]["own"]["mean"] <= 1.0
