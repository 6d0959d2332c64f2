"""A script's samples grow: in the midst of a fit, between two, and over its node's lives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

import qsynth
from qsynth.errors import ConfigError, DataError, StateError
from qsynth.host.history import History
from tests.host.test_join import ENCODER, PLAIN, TASK, Net, X, Y

LOADER = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), 10)


class Arriving(pl.Callback):
    """Hands over more samples at some steps."""

    def __init__(self, mesh: qsynth.JoinMesh, at: dict[int, slice]) -> None:
        self.mesh, self.at = mesh, at

    def on_train_batch_end(self, trainer, *_) -> None:
        rows = self.at.get(trainer.global_step)
        if rows is not None:
            self.mesh.update(X[rows], Y[rows])


def joined(tmp_path: Path, count: int = 45, **more) -> qsynth.JoinMesh:
    return qsynth.JoinMesh(
        TASK,
        (X[:count], Y[:count]),
        (X[75:], Y[75:]),
        period_steps=5,
        encoder=ENCODER,
        mesh=qsynth.Tcp(linger_s=0.0),
        record=tmp_path / "events.jsonl",
        **more,
    )


def trained(mesh: qsynth.JoinMesh, at: dict[int, slice] | None = None) -> None:
    arriving = [Arriving(mesh, at)] if at else []
    trainer = pl.Trainer(max_steps=20, max_epochs=-1, callbacks=[*arriving, mesh], **PLAIN)
    trainer.fit(Net(), LOADER, LOADER)


def published(tmp_path: Path) -> int:
    events = map(json.loads, (tmp_path / "events.jsonl").read_text().splitlines())
    return sum(each["event"] == "publish" for each in events)


def test_samples_that_come_in_a_fit_are_published_together(tmp_path) -> None:
    mesh = joined(tmp_path)
    # One alone waits; with eight more of each class they are told.
    trained(mesh, {3: slice(45, 46), 8: slice(46, 60), 9: slice(60, 72)})
    assert mesh.script.samples.ends == (45, 46, 72)
    assert published(tmp_path) == 2
    assert len(mesh._participant.pipeline.samples.train_y) == 72
    assert mesh.predictor is not None


def test_between_two_fits_too_and_before_the_first_one_there_is_one_batch(tmp_path) -> None:
    mesh = joined(tmp_path)
    mesh.update(X[45:50], Y[45:50])
    mesh.update(X[50:50], Y[50:50])
    assert mesh.script.samples.ends == ()
    trained(mesh)
    mesh.update(X[50:60], Y[50:60])
    mesh.update(X[60:65], Y[60:65])
    assert mesh.script.samples.ends == (50, 65)
    trained(mesh.alone())
    trained(mesh)
    assert len(mesh._participant.pipeline.samples.train_y) == 65


def test_a_home_remembers_the_batches(tmp_path) -> None:
    home = tmp_path / "home"
    trained(joined(tmp_path, home=home), {3: slice(45, 60)})
    assert History.load(home).ends == (45, 60)
    later = joined(tmp_path, 70, home=home)
    trained(later)
    assert later.script.samples.ends == (45, 60, 70)


def of_home(tmp_path: Path, rows, **more) -> qsynth.JoinMesh:
    given = (X[rows], Y[rows]), (X[75:], Y[75:])
    mesh = qsynth.Tcp(linger_s=0.0)
    return qsynth.JoinMesh(TASK, *given, encoder=ENCODER, home=tmp_path / "home", mesh=mesh, **more)


@pytest.mark.parametrize(
    "rows",
    [
        [*range(1, 46)],  # one left out
        [45, *range(45)],  # a new one first
        [*range(44), 50, 51],  # one replaced, one added
    ],
    ids=["less", "first", "replaced"],
)
def test_samples_that_differ_by_a_few_are_refused_in_a_home_that_has_told_of_them(
    rows, tmp_path
) -> None:
    trained(of_home(tmp_path, [*range(45)]))
    with pytest.raises(StateError, match="two packets would tell of the difference"):
        trained(of_home(tmp_path, rows))
    assert History.load(tmp_path / "home").ends == (45,)
    # Who tells nobody may have any.
    trained(of_home(tmp_path, rows, publish="never"))


def test_under_a_guarantee_other_samples_are_paid_for(tmp_path) -> None:
    pytest.importorskip("dp_accounting", reason="needs the extra privacy")
    privacy = qsynth.DifferentialPrivacy(epsilon=50.0, releases=2)
    for rows in (range(45), range(1, 46)):
        mesh = of_home(tmp_path, [*rows], privacy=privacy)
        trained(mesh)
    assert mesh._participant.budget.told()["releases"] == 2


def test_another_threshold_is_refused_where_batches_were_told_by_the_first(tmp_path) -> None:
    trained(of_home(tmp_path, [*range(45)], distill=qsynth.Analytic(min_support=5)))
    trained(of_home(tmp_path, [*range(45)], distill=qsynth.Analytic(min_support=6)))
    trained(of_home(tmp_path, [*range(60)], distill=qsynth.Analytic(min_support=6)))
    with pytest.raises(StateError, match=r"min_support=5: packets .* were made with 6"):
        trained(of_home(tmp_path, [*range(60)], distill=qsynth.Analytic(min_support=5)))


def test_what_waits_is_in_no_query_either(tmp_path) -> None:
    sketch = qsynth.ClassSketch(query_support=2)
    mesh = joined(tmp_path, similarity=sketch)
    before = mesh._study().distil()
    mesh._participant = mesh  # as in a fit
    mesh.update(X[45:46], Y[45:46])
    after = mesh._study().distil()
    assert mesh.script.samples.ends == (45, 46)
    assert np.array_equal(before.query, after.query)
    assert all(np.array_equal(before.payload[key], after.payload[key]) for key in before.payload)


def test_a_packet_that_follows_the_network_does_not_grow(tmp_path) -> None:
    rules = {"distill": qsynth.ClassLogits(), "synthesis": qsynth.ClassKd()}
    mesh = joined(tmp_path, **rules)
    with pytest.raises(ConfigError, match="ClassLogits tells of a network"):
        mesh.update(X[45:46], Y[45:46])


def test_a_spent_budget_renews_what_was_paid_for(tmp_path) -> None:
    pytest.importorskip("dp_accounting", reason="needs the extra privacy")
    privacy = qsynth.DifferentialPrivacy(epsilon=50.0)
    mesh = joined(tmp_path, home=tmp_path / "home", privacy=privacy)
    trained(mesh, {8: slice(45, 60)})
    participant = mesh._participant
    assert participant.budget.told()["releases"] == 1
    assert mesh.script.samples.ends == (45, 60)
    grown = qsynth.DifferentialPrivacy(epsilon=50.0, updates=1)
    other = joined(tmp_path, home=tmp_path / "other", privacy=grown)
    trained(other, {3: slice(45, 55), 8: slice(55, 65), 13: slice(65, 72)})
    pipeline = other._participant.pipeline
    assert len(pipeline.samples.ends) == 4
    paid = other._participant._paid(pipeline.distil(), 9)
    assert paid is not None
    assert paid.releases == pipeline.distil(batches=3).releases


def test_a_guarantee_pays_for_each_batch(tmp_path) -> None:
    pytest.importorskip("dp_accounting", reason="needs the extra privacy")
    privacy = qsynth.DifferentialPrivacy(epsilon=50.0, updates=1)
    mesh = joined(tmp_path, home=tmp_path / "home", privacy=privacy)
    trained(mesh, {3: slice(45, 60), 8: slice(60, 70), 13: slice(70, 73)})
    spent = (tmp_path / "home" / "privacy.jsonl").read_text().splitlines()
    # Two batches and both together; a third one fits, and a fourth needs a level more.
    assert [(e["level"], e["place"]) for e in map(json.loads, spent)][:3] == [
        (0, 0),
        (1, 0),
        (0, 1),
    ]
    assert mesh._participant.budget.told()["spent"] <= 50.0
    assert published(tmp_path) <= 3


@pytest.mark.parametrize(
    ("x", "y", "told"),
    [
        (X[:3, :2], Y[:3], "update"),
        (X[:3], Y[:2], "as many"),
        (np.full((2, 4), np.nan, np.float32), Y[:2], "update"),
        (X[:2], np.array([0, 9]), "update"),
    ],
)
def test_wrong_samples_are_refused_and_nothing_changes(x, y, told, tmp_path) -> None:
    mesh = joined(tmp_path)
    with pytest.raises(DataError, match=told):
        mesh.update(x, y)
    assert len(mesh.script.samples.train_y) == 45
