"""Another package brings an option and a recipe; a lock brings the same run again."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from qsynth.cli.main import main
from qsynth.errors import ConfigError
from qsynth.similarity.options import OPTIONS as SIMILARITY
from tests.commands import answered

MODULE = '''
import pytorch_lightning as pl
import torch
from torch import nn


class TinyNet(pl.LightningModule):
    """A package's own network."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(64, width), nn.Linear(width, 10)

    def forward(self, x):
        return self.two(torch.relu(self.one(x.flatten(1))))

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())
'''
RECIPE = """# Three nodes with a network of another package.
defaults:
  - /model@fleet.tiny.model: tinynet
  - override /data: digits
name: tiny_mesh
fleet:
  tiny:
    count: 3
    model:
      arguments: {width: 5}
encoder: {fit_images: 300, dimensions: 48, filters: 8}
trainer: {max_steps: 20, period_steps: 10}
"""
FILES = {
    "tinynet/__init__.py": MODULE,
    "tinynet/recipes/__init__.py": "",
    "tinynet/recipes/tiny_mesh.yaml": RECIPE,
    "tinynet-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tinynet\nVersion: 1.0\n",
    "tinynet-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\n"
    "Tag: py3-none-any\n",
    "tinynet-1.0.dist-info/entry_points.txt": "[qsynth.options]\nmodel.tinynet = tinynet:TinyNet\n"
    "[qsynth.recipes]\ntinynet = tinynet.recipes\n",
}


def wheel(folder: Path) -> Path:
    path = folder / "tinynet-1.0-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(path, "w") as file:
        for name, text in FILES.items():
            file.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
            record.append(f"{name},sha256={digest.decode()},{len(text.encode())}")
        record.append("tinynet-1.0.dist-info/RECORD,,")
        file.writestr("tinynet-1.0.dist-info/RECORD", "\n".join(record) + "\n")
    return path


@pytest.mark.slow
def test_an_installed_package_brings_options_and_recipes(tmp_path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--target", str(site), str(wheel(tmp_path))]
    subprocess.run(command, check=True, timeout=300)
    environment = {"PYTHONPATH": str(site)}
    qsynth = partial(answered, folder=tmp_path, environment=environment)
    assert "tiny_mesh" in qsynth("recipe", "list").stdout
    shown = qsynth("config", "model=tinynet")
    assert yaml.safe_load(shown.stdout)["model"]["target"] == "tinynet.TinyNet"
    refused = qsynth("config", "model=tinynt")
    assert refused.returncode == 2
    assert "did you mean tinynet" in refused.stderr
    words = ["+recipe=tiny_mesh", "placement=simulate", "baselines=[]", "--json", "--quiet"]
    done = qsynth("run", *words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["nodes"] == 3
    # Whoever has not installed it must say that the code is trusted.
    (tmp_path / "sent.yaml").write_text(
        RECIPE.replace("tiny.model: tinynet", "tiny.model: module").replace(
            "arguments: {width: 5}", "target: tinynet.TinyNet"
        )
    )
    assert qsynth("recipe", "validate", "sent.yaml").returncode == 0
    del environment["PYTHONPATH"]
    assert qsynth("recipe", "validate", "sent.yaml").returncode == 3


@dataclass(frozen=True)
class Mine:
    """An options class without what its group needs."""

    name: str = "mine"


PAGE = Path(__file__).resolve().parents[2] / "docs" / "contributing" / "add-an-option.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def package(folder: Path) -> Path:
    """Write the package that the page shows, as pip would install it."""
    site = folder / "site"
    (site / "nearby").mkdir(parents=True)
    (site / "nearby" / "__init__.py").touch()
    for code in blocks("python"):
        name = code.splitlines()[0].removeprefix("# ")
        (site / name).write_text(code, encoding="utf-8")
    declared = tomllib.loads(blocks("toml")[0])["project"]["entry-points"]
    told = site / "nearby-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: nearby\nVersion: 1.0\n")
    lines = []
    for group, points in declared.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (told / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (folder / "nearby.yaml").write_text(blocks("yaml")[0])
    return site


@pytest.mark.slow
def test_the_package_of_the_page_brings_whole_options(tmp_path) -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 3, 400)
    x = rng.standard_normal((400, 6)) + 2.0 * np.eye(3, 6)[y]
    np.savetxt(tmp_path / "table.csv", np.column_stack([x, y]), delimiter=",", fmt="%.5f")
    environment = {"PYTHONPATH": str(package(tmp_path))}
    qsynth = partial(answered, folder=tmp_path, environment=environment)
    words = ["recipe=nearby.yaml", "placement=simulate", "baselines=[]", "--json", "--quiet"]
    done = qsynth("run", *words)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["nodes"] == 5
    assert summary["accuracy"]["own"]["mean"] > 0.6
    (folder,) = (tmp_path / "runs").iterdir()
    events = [
        json.loads(line)
        for path in folder.glob("nodes/*/events.jsonl")
        for line in path.read_text().splitlines()
    ]
    published = [e for e in events if e["event"] == "publish"]
    assert {len(bytes.fromhex(e["fingerprint"])) for e in published} == {9}  # of three classes
    assert any(e["event"] == "synthesis" and e["used"] for e in events)
    assert not any(e["event"] == "reject" for e in events)
    # In processes of their own, too, over the package's transport and placed by it.
    words.remove("placement=simulate")
    placed = qsynth("run", *words, "placement=reversed", "mesh=lossy", "mesh.loss=0.1")
    assert placed.returncode == 0, placed.stderr
    assert json.loads(placed.stdout)["transport"] == "lossy"
    assert json.loads(placed.stdout)["placement"] == "reversed"
    assert "and <= 0.5" in qsynth("config", "mesh=lossy", "mesh.loss=0.9").stderr
    refused = qsynth("config", "recipe=nearby.yaml", "similarity.features=2")
    assert refused.returncode == 2
    assert "similarity.features=2: must be >= 4" in refused.stderr
    assert "did you mean spread" in qsynth("config", "similarity=sprea").stderr
    assert "first features" in qsynth("explain", "similarity=spread").stdout
    del environment["PYTHONPATH"]
    assert "no such option of" in qsynth("config", "similarity=spread").stderr


def test_an_option_of_a_package_that_is_none_is_one_line(monkeypatch) -> None:
    from importlib.metadata import EntryPoint

    from qsynth import registry

    for value, said in (
        ("nowhere.at:All", "cannot be imported"),
        ("json:dumps", "must be an options class whose name is mine"),
        ("qsynth.dht.config:Rings", "must be an options class whose name is mine"),
        ("tests.recipe.test_entry_points:Mine", "needs load, load_for, batch_size"),
    ):
        point = EntryPoint("mine", value, "qsynth.data")
        monkeypatch.setattr(registry, "declared", lambda point=point: {"qsynth.data": [point]})
        options = registry.Options("data", {})
        assert "mine" in options
        with pytest.raises(ConfigError, match=said):
            options["mine"]


def test_a_group_whose_code_does_not_ask_its_options_takes_none(monkeypatch) -> None:
    from importlib.metadata import EntryPoint

    from qsynth import registry

    point = EntryPoint("mine", "json:dumps", "qsynth.trust")
    monkeypatch.setattr(registry, "declared", lambda: {"qsynth.trust": [point]})
    assert list(registry.Options("trust", {})) == []


def test_no_package_replaces_an_option_of_ours(monkeypatch) -> None:
    from importlib.metadata import EntryPoint

    from qsynth import registry
    from qsynth.dht.config import Rings

    point = EntryPoint("rings", "json:dumps", "qsynth.data")
    monkeypatch.setattr(registry, "declared", lambda: {"qsynth.data": [point]})
    options = registry.Options("data", {"rings": Rings})
    assert options["rings"] is Rings
    assert list(options) == ["rings"]
    assert options.brought == []


SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "baselines=[]",
    "trainer.period_steps=10",
    "trainer.max_steps=20",
    "placement=simulate",
    "fleet.mlp.count=2",
    "fleet.cnn.count=1",
    "fleet.linear.count=1",
]


@pytest.mark.slow
def test_a_locked_run_is_the_same_in_another_folder_or_is_refused(tmp_path, capsys) -> None:
    assert main(["run", *SMALL, f"folder={tmp_path}/one", "seed=3", "--quiet"]) == 0
    (one,) = (tmp_path / "one").iterdir()
    lock = yaml.safe_load((one / "recipe.lock").read_text())
    assert len(lock["packets"]) == 64
    assert main(["recipe", "pack", str(one), "--out", str(tmp_path / "run.qpack")]) == 0
    for source in (one / "recipe.lock", tmp_path / "run.qpack"):
        words = ["run", "--locked", str(source), f"folder={tmp_path}/two", "--json", "--quiet"]
        capsys.readouterr()
        assert main(words) == 0, capsys.readouterr().err
        again = json.loads(capsys.readouterr().out)
        first = json.loads((one / "summary.json").read_text())
        assert again["accuracy"] == first["accuracy"]
        assert again["seed"] == 3
    assert main(["run", "--locked", str(one), "seed=4"]) == 2
    assert "a lock names the rest" in capsys.readouterr().err
    for key, value, told in (
        ("data", "00", "data"),
        ("versions", {"numpy": "0.1"}, "numpy 0.1"),
        ("config", "00", "another one here"),
    ):
        (one / "recipe.lock").write_text(yaml.safe_dump(lock | {key: value}))
        assert main(["run", "--locked", str(one), "--quiet", f"folder={tmp_path}/three"]) == 2
        assert told in capsys.readouterr().err
    (one / "recipe.lock").write_text(yaml.safe_dump(lock | {"packets": "0" * 64}))
    assert main(["run", "--locked", str(one), "--quiet", f"folder={tmp_path}/three"]) == 1
    assert "not those of the locked run" in capsys.readouterr().err
    (one / "recipe.yaml").write_text("name: other\n")
    assert main(["run", "--locked", str(one), "--quiet"]) == 2
    assert main(["run", "--locked", str(tmp_path / "nowhere")]) == 2


HOSTILE = [
    ["encoder=module", "encoder.target=os.system"],
    ["+encoder.target=os.system"],
    ["++model.target=os.system"],
    ["mesh={name: tcp, insecure: true}"],
    ["mesh.join=[tcp://evil.example:7700]"],
    ["data={path: /etc/x.npz}"],
    ["data.path=/etc/x.npz"],
    ["data.path=${task.title}"],
    ["trainer.logger=os.system"],
    ["trainer.arguments={default_root_dir: /etc}"],
    ["model@hydra.run=mlp"],
    ["hydra.run.dir=/tmp"],
    ["name=../../x"],
    ["~data"],
    [1],
    "abc",
    {"a": 1},
]


@pytest.mark.parametrize("overrides", HOSTILE, ids=str)
def test_what_a_lock_overrides_is_not_the_users_own_word(tmp_path, overrides, capsys) -> None:
    from qsynth.recipe.catalog import recipe_files
    from qsynth.recipe.pack import write_pack

    recipe = recipe_files()["digits_mesh"].read_bytes()
    path = tmp_path / "theirs.qpack"
    path.write_bytes(write_pack(recipe, {"overrides": overrides}, ""))
    assert main(["run", "--locked", str(path), f"folder={tmp_path}/runs"]) == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_lock_does_not_say_where_runs_are_written(tmp_path, monkeypatch) -> None:
    from qsynth.recipe.catalog import recipe_files
    from qsynth.recipe.pack import write_pack

    monkeypatch.chdir(tmp_path)
    recipe = recipe_files()["digits_mesh"].read_bytes()
    lock = {"overrides": [*SMALL, "placement=simulate"]}
    sent = {"overrides": [*lock["overrides"], f"folder={tmp_path}/elsewhere"]}
    (tmp_path / "a.qpack").write_bytes(write_pack(recipe, sent, ""))
    assert main(["run", "--locked", "a.qpack", "--quiet"]) == 3
    (tmp_path / "a.qpack").write_bytes(write_pack(recipe, lock, ""))
    assert main(["run", "--locked", "a.qpack", "--quiet"]) == 0
    assert (tmp_path / "runs").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_a_broken_option_of_a_package_stops_nobody_who_has_not_chosen_it(monkeypatch) -> None:
    from importlib.metadata import EntryPoint

    from qsynth import registry, schema

    point = EntryPoint("mine", "nowhere.at:All", "qsynth.similarity")
    monkeypatch.setattr(registry, "declared", lambda: {"qsynth.similarity": [point]})
    made = schema.choose(SIMILARITY, {"name": "class_sketch", "fingerprint_dim": 64}, "similarity")
    assert made.fingerprint_dim == 64
    with pytest.raises(ConfigError, match="cannot be imported"):
        schema.choose(SIMILARITY, {"name": "mine"}, "similarity")
