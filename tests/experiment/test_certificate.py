"""What a node gained, on samples that served nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.experiment.build import LEAST_AUDITED, build
from qsynth.experiment.certificate import paired_interval
from qsynth.recipe.compose import compose

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "baselines=[]",
    "trainer.period_steps=20",
    "trainer.max_steps=60",
    "placement=simulate",
]


def test_the_interval_covers_what_it_should() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        alone = rng.random(250) < 0.7
        mesh = np.where(rng.random(250) < 0.25, rng.random(250) < 0.9, alone)
        _, low, high = paired_interval(mesh, alone)
        covered += low <= 0.25 * 0.9 + 0.75 * 0.7 - 0.7 <= high
    assert 0.92 <= covered / 400 <= 0.99
    same = np.ones(300, bool)
    gain, low, high = paired_interval(same, same)
    assert gain == 0.0
    assert low < 0.0 < high
    gain, low, _ = paired_interval(same, ~same)
    assert gain == 1.0
    assert low > 0.9


@pytest.mark.slow
def test_a_certificate_names_who_what_and_how_sure(tmp_path, capsys) -> None:
    assert main(["run", *ONE, f"folder={tmp_path}", "--quiet"]) == 0
    (folder,) = tmp_path.iterdir()
    assert main(["report", str(folder), "--certificate", "--quiet"]) == 0
    made = [json.loads(p.read_text()) for p in folder.glob("nodes/*/certificate.json")]
    assert len(made) == 3
    for certificate in made:
        assert certificate["audit_samples"] < LEAST_AUDITED
        assert "cannot be excluded" in certificate["harm"]
        low, high = certificate["interval_95"]
        assert low <= certificate["gain"] <= high
        apart = certificate["accuracy_mesh"] - certificate["accuracy_alone"]
        assert certificate["gain"] == pytest.approx(apart)
        assert len(certificate["identity"]) == 64
        assert len(certificate["recipe_sha256"]) == 64
    assert any(certificate["authors"] for certificate in made)
    page = (folder / "nodes" / "mlp-0" / "certificate.html").read_text()
    assert "cannot be excluded" in page
    capsys.readouterr()
    assert main(["run", *ONE[:-1], f"folder={tmp_path}/other", "--quiet"]) == 0
    (other,) = (tmp_path / "other").iterdir()
    assert main(["report", str(other), "--certificate", "--quiet"]) == 2
    assert "partition.audit_share" in capsys.readouterr().err


ONE = [
    "+recipe=digits_mesh",
    *SMALL,
    "fleet.mlp.count=1",
    "fleet.cnn.count=1",
    "fleet.linear.count=1",
    "partition.audit_share=.25",
]
# What a certificate is of: each of them changed makes it one of something else.
OTHERS = [
    "partition.audit_share=.2",
    "partition.validation_share=.3",
    "partition.seed=5",
    "partition.alpha=.4",
    "partition=iid",
    "seed=1",
    "data.test_share=.3",
    "data.positives=['3']",
    "data.batch_size=8",
    "fleet.linear.count=2",
    "fleet.mlp.model.width=32",
    "fleet.mlp.model.learning_rate=.01",
    "trainer.max_steps=80",
    "trainer.period_steps=10",
    "trainer.gradient_clip_norm=1",
    "encoder.seed=1",
    "encoder.filters=6",
    "distill.rank=8",
    "distill.min_support=6",
    "synthesis.support_cap=8",
    "synthesis.teach.weight=1",
    "similarity.sketch_d=16",
    "task.version=2",
    "peers.k=1",
    "trust.max_authors=9",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run whose nodes have left samples aside."""
    folder = tmp_path_factory.mktemp("trained")
    assert main(["run", *ONE, f"folder={folder}", "--quiet"]) == 0
    (made,) = folder.iterdir()
    return made


@pytest.mark.parametrize("word", OTHERS)
def test_settings_other_than_those_trained_with_get_no_certificate(
    word, trained, tmp_path, capsys
) -> None:
    words = ["--home", str(trained), *ONE, word, "mesh=tcp"]
    assert main(["node", "certificate", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "certificate: " in said
    assert not list(trained.glob("nodes/*/certificate.json"))


def test_the_settings_trained_with_get_one(trained, capsys) -> None:
    words = [
        "--home",
        str(trained),
        *ONE,
        "mesh=tcp",
        "trainer.logger=none",
        "trainer.curve_points=3",
        "trainer.checkpoint_s=9",
        "dht.ef=12",
        "mesh.linger_s=1",
        "publish=never",
    ]
    assert main(["node", "certificate", *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["node"] == "mlp-0"
    for path in trained.glob("nodes/*/certificate.*"):
        path.unlink()


def test_a_node_that_has_left_nothing_aside_gets_none(tmp_path, capsys) -> None:
    words = [w for w in ONE if "audit" not in w]
    assert main(["run", *words, f"folder={tmp_path}", "--quiet"]) == 0
    (made,) = tmp_path.iterdir()
    asked = ["node", "certificate", "--home", str(made), *words, "mesh=tcp"]
    assert main([*asked, "partition.audit_share=.25"]) == 2
    assert "are not those that mlp-0 left aside" in capsys.readouterr().err
    assert main(asked) == 2
    assert "set partition.audit_share=.25" in capsys.readouterr().err
    (made / "nodes" / "mlp-0" / "trained").unlink()
    assert main([*asked, "partition.audit_share=.25"]) == 2
    assert "nothing says what mlp-0 was trained with" in capsys.readouterr().err


def test_a_life_with_other_settings_ends_all_certificates(trained, tmp_path, capsys) -> None:
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    other = build(compose([*ONE, "seed=1"]).config, home)
    from qsynth.training.provenance import note_trained

    for node in other.nodes:
        note_trained(other, node)
    assert main(["node", "certificate", "--home", str(home), *ONE, "mesh=tcp"]) == 2
    assert "are not those that mlp-0 left aside" in capsys.readouterr().err


def test_a_report_is_of_the_data_that_were_trained_on(trained, tmp_path, capsys) -> None:
    home = tmp_path / "home"
    shutil.copytree(trained, home)
    config = home / "config.yaml"
    config.write_text(config.read_text().replace("alpha: 0.3", "alpha: 0.4"))
    assert main(["report", str(home)]) == 2
    assert "was trained on other data, or with other settings" in capsys.readouterr().err
    config.write_text(config.read_text().replace("alpha: 0.4", "alpha: 0.3"))
    config.write_text(config.read_text().replace("test_share: 0.25", "test_share: 0.3"))
    assert main(["report", str(home)]) == 2
    assert "the data are not those that this run began with" in capsys.readouterr().err
