"""What a node gained, on samples that served nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.run.build import LEAST_AUDITED
from qsynth.run.certificate import paired_interval

SMALL = ["encoder.fit_images=300", "encoder.dimensions=48", "encoder.filters=8", "baselines=[]",
         "trainer.period_steps=20", "trainer.max_steps=60", "placement=simulate"]  # fmt: skip


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


def test_a_certificate_names_who_what_and_how_sure(tmp_path, capsys) -> None:
    words = [*SMALL, f"folder={tmp_path}", "partition.audit_share=.25", "--quiet"]
    assert main(["run", *words]) == 0
    (folder,) = tmp_path.iterdir()
    assert main(["report", str(folder), "--certificate", "--quiet"]) == 0
    made = [json.loads(p.read_text()) for p in folder.glob("nodes/*/certificate.json")]
    assert len(made) == 8
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
    assert main(["run", *SMALL, f"folder={tmp_path}/other", "--quiet"]) == 0
    (other,) = (tmp_path / "other").iterdir()
    assert main(["report", str(other), "--certificate", "--quiet"]) == 2
    assert "partition.audit_share" in capsys.readouterr().err
