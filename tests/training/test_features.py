"""Networks on features: rows made when they are taken, and predictors with the backbone inside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qsynth.cli.main import main
from qsynth.data import DataSet
from qsynth.encoder import make_encoder
from qsynth.encoder.config import ModuleEncoder, SeededConv
from qsynth.errors import ShapeError, UntrustedError
from qsynth.experiment.build import build
from qsynth.recipe.compose import compose
from qsynth.report.estimate import forecast
from qsynth.training.export import load_predictor
from qsynth.training.features import Backbone, FeatureRows, featured_task, on_features
from qsynth.types import Task

SMALL = [
    "+recipe=digits_mesh",
    "placement=simulate",
    "encoder.dimensions=24",
    "encoder.fit_images=300",
    "encoder.filters=8",
    "data.features=true",
    "fleet.cnn.count=0",
    "trainer.max_steps=6",
    "trainer.period_steps=2",
    "trainer.curve_points=1",
]
CONFIG = SeededConv(dimensions=12, fit_images=300, filters=4)


@pytest.fixture
def encoder(task):
    return make_encoder(CONFIG, task)


@pytest.mark.parametrize(
    "rows",
    [
        np.array([3, 1, 3, 7]),
        slice(2, 9, 3),
        slice(None),
        5,
        np.array([-1, 0]),
        np.arange(12) % 2 == 0,
        np.zeros(0, np.int64),
        [2, 4],
    ],
)
def test_rows_are_taken_as_from_an_array(rows, encoder, rng) -> None:
    x = rng.random((12, 1, 8, 8), np.float32)
    whole = encoder.encode(x)
    lazy = FeatureRows(encoder, x)
    np.testing.assert_allclose(lazy[rows], whole[rows], atol=1e-5)
    assert lazy.there.sum() == len(np.unique(np.atleast_1d(np.arange(12)[rows])))
    before = lazy[rows]
    np.testing.assert_allclose(np.asarray(lazy), whole, atol=1e-5)
    assert np.array_equal(lazy[rows], before)
    assert (len(lazy), lazy.shape, lazy.ndim) == (12, (12, 12), 2)


def test_each_row_is_made_once(encoder, rng, monkeypatch) -> None:
    asked = []
    made = encoder.encode_kept
    monkeypatch.setattr(encoder, "encode_kept", lambda x: asked.append(len(x)) or made(x))
    lazy = FeatureRows(encoder, rng.random((12, 1, 8, 8), np.float32))
    for rows in ([0, 1], [1, 2], [0, 2], slice(None), slice(None)):
        lazy[rows]
    assert asked == [2, 1, 9]


def test_the_task_of_features_names_the_encoder(task, encoder) -> None:
    made = featured_task(task, encoder)
    other = make_encoder(replace(CONFIG, seed=1), task)
    assert made.layout == "vector"
    assert made.shape == (12,)
    assert made.labels == task.labels
    assert made.digest() != featured_task(task, other).digest()


def test_featured_data_are_named_by_data_and_encoder(task, encoder, rng) -> None:
    x, y = rng.random((10, 1, 8, 8), np.float32), np.arange(10) % task.classes
    data = DataSet(task, x, y, x[:4], y[:4])
    backbone = Backbone(encoder, CONFIG, task)
    one = on_features(data, backbone)
    assert one.digest() == on_features(replace(data), backbone).digest() != data.digest()
    assert one.digest() != on_features(replace(data, test_y=y[1:5]), backbone).digest()


def test_a_run_on_features_leaves_predictors_that_take_images(tmp_path, capsys) -> None:
    words = [*SMALL, f"folder={tmp_path}"]
    assert main(["run", *words, "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["failures"] == []
    assert summary["packets"]["admitted"] > 0
    plan = build(compose(words).config, Path())
    file = sorted(tmp_path.rglob("predictor.pt"))[0]
    whole, inner = load_predictor(file), load_predictor(file, on_features=True)
    assert plan.backbone is not None
    images = torch.from_numpy(plan.data.test_x.inputs[:9])
    features = torch.from_numpy(plan.data.test_x[:9])
    with torch.no_grad():
        got, wanted = whole(images), inner(features)
    torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)
    run = next(tmp_path.glob("*/config.yaml")).parent
    assert main(["report", str(run)]) == 0


@pytest.mark.parametrize("more", [[], ["distill.input_rank=null"]], ids=["sent", "features"])
def test_a_run_on_features_teaches_and_meets_the_linear_probe(more, tmp_path, capsys) -> None:
    words = [*SMALL, *more, "baselines=[linear,alone]", f"folder={tmp_path}"]
    assert main(["run", *words, "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert summary["baseline"]["linear"] is not None
    assert summary["baseline"]["alone"] is not None


def test_a_plan_of_features_is_what_a_run_has(capsys) -> None:
    config = compose(SMALL).config
    told, plan = forecast(config), build(config, Path())
    assert told["packet"]["features"] <= plan.encoder.dimensions == 24
    assert plan.data.task.shape == (24,)
    assert told["groups"][0]["parameters"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["partition=rotations", "partition.samples_per_node=60"], "partition.name=rotations"),
        (["task.invariances=[flip_horizontal]"], "task.invariances"),
    ],
)
def test_what_changes_images_is_refused_beside_features(words, said, capsys) -> None:
    for verb in ("plan", "run"):
        assert main([verb, *SMALL, *words]) == 2
        assert said in capsys.readouterr().err


def test_images_of_another_size_are_refused(task, encoder) -> None:
    from qsynth.encoder.config import FEATURES
    from qsynth.model import make_network
    from qsynth.model.linear import Linear
    from qsynth.pipeline.predictor import Predictor

    seen = featured_task(task, encoder)
    predictor = Predictor(make_network(Linear(), seen), make_encoder(FEATURES, seen), seen).eval()
    predictor.backbone = encoder
    assert predictor(torch.rand(3, 1, 8, 8).double()).shape == (3, task.classes)
    with pytest.raises(ShapeError, match=r"must be \(n, 1, 8, 8\)"):
        predictor(torch.rand(3, 1, 9, 9))


class Halves(nn.Module):
    """A backbone of the user's own: means of the two halves of an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[..., :4].flatten(1), x[..., 4:].flatten(1)], 1)


def test_a_backbone_of_ones_own_must_be_given_or_trusted(tmp_path, task) -> None:
    from dataclasses import asdict

    from qsynth.encoder.config import FEATURES
    from qsynth.model import make_network
    from qsynth.model.linear import Linear
    from qsynth.pipeline.predictor import Predictor
    from qsynth.training.export import save_predictor

    config = ModuleEncoder(dimensions=8, target=f"{__name__}.Halves", whiten=False)
    backbone = Backbone(make_encoder(config, task), config, task)
    seen: Task = featured_task(task, backbone.encoder)
    predictor = Predictor(make_network(Linear(), seen), make_encoder(FEATURES, seen), seen).eval()
    file = tmp_path / "p.pt"
    save_predictor(predictor, file, asdict(FEATURES), asdict(Linear()), backbone)
    with pytest.raises(UntrustedError):
        load_predictor(file)
    x = torch.rand(3, *task.shape)
    given = load_predictor(file, encoder=Halves())
    trusted = load_predictor(file, trust=[f"{__name__}.Halves"])
    torch.testing.assert_close(given(x), trusted(x))
    torch.testing.assert_close(given(x), predictor(backbone.encoder(x)))
