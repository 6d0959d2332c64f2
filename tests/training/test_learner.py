from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

import qsynth
from qsynth.distill.analytic import Analytic
from qsynth.distill.reference_logits import ReferenceLogits
from qsynth.encoder.config import SeededFourier
from qsynth.errors import ConfigError, DataError
from qsynth.model import check_network, make_network
from qsynth.model.classifier import task_loss
from qsynth.model.cnn import CNN
from qsynth.model.linear import Linear
from qsynth.model.mlp import MLP
from qsynth.model.module import Module
from qsynth.model.resnet import ResNet
from qsynth.peers.sums import Sums
from qsynth.pipeline.predictor import Predictor
from qsynth.pipeline.teach import Teaching
from qsynth.synthesis.reference_kd import ReferenceKd
from qsynth.training.export import load_predictor, save_predictor
from qsynth.training.fit import quietly
from qsynth.training.learner import TrainerLearner
from qsynth.types import Task

ROOT = Path(__file__).resolve().parents[2]


def train(task, teaching, steps=6, period=2, model=None):
    torch.manual_seed(0)
    network = make_network(model or MLP(width=8), task)
    x, y = torch.rand(12, *task.shape), torch.arange(12) % task.classes
    periods = []

    def exchange(number, module):
        periods.append(number)
        return teaching

    learner = TrainerLearner(period, exchange, 0)
    trainer = pl.Trainer(
        max_steps=steps,
        callbacks=[learner],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    loader = DataLoader(TensorDataset(x, y), batch_size=4)
    quietly(lambda: trainer.fit(network, loader))
    return network, periods


def test_periods_are_counted_in_optimizer_steps(task) -> None:
    assert train(task, None, steps=6, period=2)[1] == [0, 1, 2, 3]
    assert train(task, None, steps=7, period=3)[1] == [0, 1, 2, 3]
    assert train(task, None, steps=2, period=50)[1] == [0, 1]


def test_teaching_moves_the_network_towards_its_targets(task) -> None:
    inputs = torch.rand(30, *task.shape)
    targets = torch.eye(3)[torch.full((30,), 2)]
    fast = MLP(width=8, learning_rate=1e-2)
    taught, _ = train(task, Teaching(inputs, targets, 20.0, 16, 1), steps=100, model=fast)
    plain, _ = train(task, None, steps=100, model=fast)
    before = task_loss("classes")(plain(inputs), targets)
    assert task_loss("classes")(taught(inputs), targets) < 0.5 * before


def test_no_teaching_is_the_plain_network_bit_for_bit(task) -> None:
    a, _ = train(task, None)
    b, _ = train(
        task, Teaching(torch.rand(4, *task.shape), torch.eye(3)[:1].repeat(4, 1), 0.0, 4, 1)
    )
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


MODELS = [
    Linear(),
    MLP(width=8, dropout=0.1),
    CNN(width=4),
    ResNet(width=4),
    CNN(width=4, augment="shift_flip"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: f"{m.name}-{m.augment}")
def test_every_bundled_model_gives_logits_and_trains(task, model) -> None:
    network, _ = train(task, None, steps=3, model=model)
    check_network(network, task)
    assert network(torch.rand(5, *task.shape)).shape == (5, 3)


class Wrong(pl.LightningModule):
    def forward(self, x):
        return x.mean(dim=(1, 2, 3))


class Crash(pl.LightningModule):
    def forward(self, x):
        return x @ x


def test_a_model_that_does_not_fit_is_one_clear_error(task) -> None:
    vector = Task("v", 1, ("a", "b"), "vector", (5,), "", 0.0, 1.0)
    with pytest.raises(ConfigError, match="needs images"):
        make_network(CNN(), vector)
    with pytest.raises(ConfigError, match="must divide width"):
        make_network(ResNet(width=6, groups=4), task)
    with pytest.raises(ConfigError, match=r"logits of shape \(n, 3\)"):
        check_network(Wrong(), task)
    vectors = Task("v", 1, ("a", "b"), "vector", (5,), "", 0.0, 1.0)
    with pytest.raises(ConfigError, match="fails"):
        check_network(Crash(), vectors)
    for target in ("nowhere.X", "json.JSONDecoder", "", "nodots"):
        with pytest.raises(ConfigError, match=r"model\.target"):
            make_network(Module(target=target), task)


def test_a_predictor_is_written_and_read_without_pickled_code(task, tmp_path) -> None:
    network = make_network(MLP(width=8), task)
    predictor = Predictor(network, None, task).eval()
    save_predictor(predictor, tmp_path / "p.pt", {}, {"name": "mlp", "width": 8})
    back = load_predictor(tmp_path / "p.pt")
    x = torch.rand(4, *task.shape)
    assert torch.equal(back(x), predictor(x))
    assert back.task == task
    save_predictor(predictor, tmp_path / "own.pt", {}, {})
    with pytest.raises(DataError, match="give network="):
        load_predictor(tmp_path / "own.pt")
    assert torch.equal(load_predictor(tmp_path / "own.pt", network)(x), predictor(x))
    (tmp_path / "bad.pt").write_bytes(b"junk")
    with pytest.raises(DataError):
        load_predictor(tmp_path / "bad.pt")


@pytest.mark.slow
def test_a_predictor_loads_without_the_mesh(task, tmp_path) -> None:
    predictor = Predictor(make_network(MLP(width=8), task), None, task)
    save_predictor(predictor, tmp_path / "p.pt", {}, {"name": "mlp", "width": 8})
    code = (
        "import sys, qsynth; qsynth.load_predictor(sys.argv[1]);"
        "print('pynng' in sys.modules, 'hydra' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "p.pt")],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_joining_with_samples_that_do_not_fit_is_one_clear_error(task) -> None:
    x, y = np.zeros((4, 1, 8, 8)), np.zeros(4, int)
    with pytest.raises(DataError, match=r"x must be \(n, 1, 8, 8\)"):
        qsynth.JoinMesh(task, (x[:, :, :4], y), (x, y))
    with pytest.raises(DataError, match="class index below 3"):
        qsynth.JoinMesh(task, (x, y + 3), (x, y))
    with pytest.raises(ConfigError, match="public set"):
        qsynth.JoinMesh(task, (x, y), (x, y), distill=ReferenceLogits(), synthesis=ReferenceKd())
    with pytest.raises(ConfigError, match="distill=reference_logits"):
        qsynth.JoinMesh(task, (x, y), (x, y), synthesis=ReferenceKd())


class Line(pl.LightningModule):
    """A regression of the user's own, in units of the task."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.mse_loss(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


@pytest.mark.slow
def test_a_script_with_numbers_to_tell_joins_too(tmp_path) -> None:
    values = Task(
        "v",
        1,
        ("a",),
        "vector",
        (4,),
        "",
        -3.0,
        3.0,
        kind="values",
        target_location=(50.0,),
        target_scale=(10.0,),
    )
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    y = x[:, :1]  # in units of the task: 50 + 10 y in the world's
    with pytest.raises(DataError, match="y has 4 columns"):
        qsynth.JoinMesh(values, (x, x), (x, y))
    with pytest.raises(ConfigError, match="needs distill=analytic"):
        qsynth.JoinMesh(values, (x, y), (x, y), peers=Sums(), distill=ReferenceLogits())
    mesh = qsynth.JoinMesh(
        values,
        (x[:40], y[:40]),
        (x[40:], y[40:]),
        period_steps=20,
        encoder=SeededFourier(dimensions=24, frequencies=48, fit_inputs=300),
        distill=Analytic(d=16),
    )
    loader = DataLoader(TensorDataset(torch.tensor(x[:40]), torch.tensor(y[:40])), batch_size=10)
    network = Line()
    pl.Trainer(
        max_steps=200,
        callbacks=[mesh],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        devices=1,
    ).fit(network, loader)
    mesh.save(tmp_path / "p.pt")
    predictor = qsynth.load_predictor(tmp_path / "p.pt", network=Line())
    with torch.no_grad():
        answers = predictor(torch.tensor(x)).numpy()
    assert np.abs(answers - (50 + 10 * y)).mean() < 5


@pytest.mark.slow
def test_the_example_joins_a_mesh_from_a_plain_lightning_script(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "examples" / "join_mesh.py"), str(tmp_path), "200"],
        capture_output=True,
        text=True,
        timeout=500,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), **__import__("os").environ},
    )
    assert done.returncode == 0, done.stderr
    lines = dict(line.rsplit(" ", 1) for line in done.stdout.strip().splitlines())
    assert int(lines["authors of node 0"]) + int(lines["authors of node 1"]) >= 1
    assert float(lines["accuracy of node 0"]) > 0.6
