"""A script's callback honours its Trainer: weights, loggers, optimizers, precision."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import qsynth
from qsynth.host.ledger import NAME as LEDGER
from qsynth.host.ledger import read_ledger
from qsynth.host.strangers import unlike
from qsynth.pipeline.participant import Lonely

TASK = qsynth.Task(
    name="toy",
    version=1,
    labels=("a", "b", "c"),
    layout="vector",
    shape=(4,),
    units="",
    low=-3.0,
    high=3.0,
)
RNG = np.random.default_rng(0)
Y = np.arange(90) % 3
X = (RNG.standard_normal((90, 4)) + np.eye(3, 4)[Y] * 2).astype(np.float32)
ENCODER = qsynth.SeededFourier(dimensions=16, frequencies=32, fit_inputs=300)


PLAIN = {
    "accelerator": "cpu",
    "devices": 1,
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Net(pl.LightningModule):
    """A plain module; `lr` may be what ruins it."""

    def __init__(self, lr: float = 0.05, ruined_at: int = -1) -> None:
        super().__init__()
        self.lr, self.ruined_at = lr, ruined_at
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x):
        return self.layers(x)

    def training_step(self, batch, index):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("train", loss)
        return loss * float("nan") if self.global_step == self.ruined_at else loss

    def validation_step(self, batch, index):
        self.log("held_out", F.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


class Several(Net):
    """Steps its optimizers by itself: one at first, then all, as in a warm-up."""

    def __init__(self, count: int, raw: bool = False) -> None:
        super().__init__()
        self.count, self.raw, self.automatic_optimization = count, raw, False

    def configure_optimizers(self):
        parts = [list(self.parameters())[at :: self.count] for at in range(self.count)]
        self.made = [torch.optim.SGD(part, lr=0.01) for part in parts]
        return None if self.raw else self.made

    def training_step(self, batch, index):
        found = self.made if self.raw else self.optimizers()
        optimizers = found if isinstance(found, list) else [found]
        loss = F.cross_entropy(self(batch[0]), batch[1])
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers if index else optimizers[:1]:
            optimizer.step()


def mesh(**more: Any) -> qsynth.JoinMesh:
    options = {"encoder": ENCODER, "mesh": qsynth.Tcp(linger_s=0.0), "period_steps": 4} | more
    return qsynth.JoinMesh(TASK, (X[:60], Y[:60]), (X[60:], Y[60:]), **options)


def loader(size: int = 12) -> DataLoader:
    return DataLoader(TensorDataset(torch.tensor(X[:60]), torch.tensor(Y[:60])), batch_size=size)


def held_out() -> DataLoader:
    return DataLoader(TensorDataset(torch.tensor(X[60:]), torch.tensor(Y[60:])), batch_size=30)


def fit(callback: Any, network: Any, *more: Any, trainer: Any = pl.Trainer, **settings: Any) -> Any:
    made = trainer(callbacks=[callback, *more], **(PLAIN | {"max_steps": 12} | settings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.fit(network, loader(), held_out())
    return made


def seen(callback: qsynth.JoinMesh) -> list[int]:
    """Note at which global step each exchange happens."""
    steps: list[int] = []
    plain = callback._learner.exchange

    def exchange(period, network):
        steps.append(network.global_step)
        return plain(period, network)

    callback._learner.exchange = exchange
    return steps


@pytest.mark.parametrize("ruined", [{"ruined_at": 3}, {"lr": 1e12}], ids=["loss", "rate"])
def test_a_network_that_is_lost_leaves_the_head_to_answer(ruined) -> None:
    joined, network = mesh(), Net(**ruined)
    fit(joined, network)
    assert not all(torch.isfinite(p).all() for p in network.parameters())
    assert joined.network_lost
    assert float(joined.predictor.head_weight) == 1.0
    with torch.no_grad():
        answers = joined.predictor(torch.tensor(X[60:]))
    assert torch.isfinite(answers).all()
    assert (answers.argmax(1).numpy() == Y[60:]).mean() > 0.6


def test_a_network_that_fails_on_some_inputs_is_answered_for_there() -> None:
    class Partly(Net):
        def forward(self, x):
            return torch.where(x[:, :1] > 1.5, torch.nan, self.layers(x))

    joined = mesh()
    network = Partly()
    fit(joined, network)
    # What teaches it has such inputs, too: its weights stay numbers.
    assert all(torch.isfinite(p).all() for p in network.parameters())
    with torch.no_grad():
        assert torch.isfinite(joined.predictor(torch.tensor(X))).all()


def test_the_node_says_that_its_network_is_lost() -> None:
    trainer = pl.Trainer(callbacks=[mesh()], max_steps=8, **PLAIN)
    with pytest.warns(UserWarning, match="this network is lost"):
        trainer.fit(Net(ruined_at=1), loader(), held_out())


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("raw", [False, True], ids=["lightning's", "its own"])
def test_exchanges_come_every_period_whatever_the_optimizers(count, raw) -> None:
    joined = mesh(period_steps=6)
    steps = seen(joined)
    fit(joined, Several(count, raw), max_steps=-1 if raw else 37, max_epochs=8 if raw else None)
    if raw:  # forty batches, none of which the Trainer has counted
        assert len(steps) == 1 + 40 // 6 + 1
        return
    between = np.diff(steps[:-1])
    assert len(steps) >= 37 // 6
    assert (abs(between - 6) < count).all(), steps


@pytest.mark.parametrize("split", [False, True], ids=["one optimizer", "two"])
def test_every_parameter_is_taught_once_a_step(split) -> None:
    from qsynth.pipeline.teach import Teaching
    from qsynth.training.learner import TrainerLearner

    taught = Teaching(torch.tensor(X[:1]), torch.eye(3)[Y[:1]], 1.0, 1, 1)

    class Still(Several):
        def training_step(self, batch, index):
            self.manual_backward(0.0 * self(batch[0]).sum())
            found = self.optimizers()
            self.trainer.seen = {}
            for optimizer in found if isinstance(found, list) else [found]:
                optimizer.step()

        def on_before_optimizer_step(self, optimizer):
            for group in optimizer.param_groups:
                for p in group["params"]:
                    self.trainer.seen[id(p)] = p.grad.clone()

    torch.manual_seed(0)
    network = Still(2 if split else 1)
    wanted = torch.autograd.grad(
        F.cross_entropy(network(taught.inputs), taught.targets), list(network.parameters())
    )
    made = fit(TrainerLearner(50, lambda *_: taught, 0), network, max_steps=2 if split else 1)
    first = list(network.parameters())[:: 2 if split else 1]
    for p, gradient in zip(network.parameters(), wanted, strict=True):
        found = made.seen[id(p)]
        # The second optimizer's are of a network that the first has stepped already.
        near = 1e-6 if any(p is q for q in first) else 0.2
        assert torch.allclose(found, gradient, rtol=near, atol=near * gradient.abs().max().item())


@pytest.mark.parametrize("precision", ["bf16-true", "64-true", "bf16-mixed", "32-true"])
def test_every_precision_works(precision) -> None:
    joined = mesh()
    fit(joined, Net(), precision=precision)
    with torch.no_grad():
        answers = joined.predictor(torch.tensor(X[60:]))
    assert answers.dtype == torch.float32
    assert (answers.argmax(1).numpy() == Y[60:]).mean() > 0.6


@pytest.mark.parametrize("steps", [1, 2])
def test_gradients_may_be_accumulated(steps) -> None:
    joined = mesh()
    done = seen(joined)
    fit(joined, Net(), accumulate_grad_batches=steps, max_steps=12)
    assert done == [0, 4, 8, 12]


@pytest.mark.parametrize("kind", ["frozen", "no parameters", "no optimizer"])
def test_a_network_that_trains_nothing_says_so_and_the_head_answers(kind) -> None:
    class Still(Net):
        def __init__(self) -> None:
            super().__init__()
            if kind == "no parameters":
                self.layers = nn.Sequential()
            for p in self.parameters():
                p.requires_grad_(False)

        def forward(self, x):
            return self.layers(x) if kind != "no parameters" else torch.zeros(len(x), 3)

        def training_step(self, batch, index):
            return None

        def configure_optimizers(self):
            return None

    joined = mesh()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pl.Trainer(callbacks=[joined], max_epochs=2, **PLAIN).fit(Still(), loader())
    assert any("nothing in this network is trained" in str(w.message) for w in caught)
    with torch.no_grad():
        answers = joined.predictor(torch.tensor(X[60:]))
    assert (answers.argmax(1).numpy() == Y[60:]).mean() > 0.6


@pytest.mark.parametrize("keeper", ["checkpoint", "stopping"])
@pytest.mark.parametrize("weights", ["best", "last"])
def test_the_predictor_has_the_weights_that_the_trainer_calls_best(
    keeper, weights, tmp_path
) -> None:
    class Worse(Net):
        """Is best after the first epoch, and worse after each later one."""

        def on_validation_epoch_end(self) -> None:
            self.log("held_out", float(self.current_epoch))

        def validation_step(self, batch, index):
            return None

    if keeper == "checkpoint":
        watch: pl.Callback = ModelCheckpoint(tmp_path, monitor="held_out", mode="min")
    else:
        watch = EarlyStopping("held_out", mode="min", patience=3)
    kept: list[dict[str, torch.Tensor]] = []

    class Keep(pl.Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            kept.append({k: v.clone() for k, v in pl_module.state_dict().items()})

    joined, network = mesh(weights=weights), Worse()
    fit(
        joined,
        network,
        watch,
        Keep(),
        max_epochs=4,
        max_steps=-1,
        enable_checkpointing=keeper == "checkpoint",
        default_root_dir=tmp_path,
    )
    found = joined.predictor.network.state_dict()
    wanted = kept[0] if weights == "best" else kept[-1]
    assert all(torch.equal(found[key], value) for key, value in wanted.items())
    # The user's own module keeps what its training has left it.
    assert all(torch.equal(v, kept[-1][k]) for k, v in network.state_dict().items())


def test_what_the_mesh_brings_goes_to_the_trainers_logger(tmp_path) -> None:
    one = mesh(listen="tcp://127.0.0.1:0", period_steps=2, mesh=qsynth.Tcp(linger_s=1.0))
    fit(one, Net(), logger=CSVLogger(tmp_path), log_every_n_steps=1, max_steps=12)
    rows = next(tmp_path.rglob("metrics.csv")).read_text().splitlines()
    heads = rows[0].split(",")
    for name in ("mesh/authors", "mesh/held", "mesh/gain"):
        values = [row.split(",")[heads.index(name)] for row in rows[1:]]
        told = [float(v) for v in values if v]
        assert len(told) >= 5  # at each exchange after the first
        assert set(told) == {0.0}  # alone: nobody brings anything


def test_alone_is_the_same_pipeline_without_peers() -> None:
    joined = mesh()
    fit(joined, Net())
    alone = joined.alone()
    assert type(alone) is type(joined)
    torch.manual_seed(1)
    fit(alone, Net())
    assert alone.host is None
    assert alone.address == ""
    assert isinstance(alone._participant.port, Lonely)
    assert alone.predictor is not joined.predictor
    assert alone.script.samples is joined.script.samples


def test_one_object_sees_two_fits_and_records_both(tmp_path) -> None:
    record = tmp_path / "events.jsonl"
    joined = mesh(record=record)
    for fits in (1, 2):
        steps = seen(joined)
        fit(joined, Net())
        assert steps == [0, 4, 8, 12]
        lines = [json.loads(line) for line in record.read_text().splitlines()]
        periods = [line for line in lines if line["event"] == "period"]
        assert len(periods) == 4 * fits


def test_a_home_keeps_the_node_between_fits(tmp_path) -> None:
    home = tmp_path / "home"
    one = mesh(home=home)
    fit(one, Net())
    again = mesh(home=home)
    assert again.identity.id == one.identity.id
    fit(again, Net())
    assert again.host.node.sequence >= one.host.node.sequence
    assert (home / "state").exists()
    assert read_ledger(home / LEDGER) == []  # nobody has asked for its packet
    asked = mesh(home=tmp_path / "asked", publish="ask")
    fit(asked, Net())
    assert asked.host.node.own_packet is None
    assert (tmp_path / "asked" / "pending.json").exists()
    silent = mesh(publish="never")
    fit(silent, Net())
    assert silent.host.node.own_packet is None


def test_a_fit_that_goes_on_goes_on_with_its_periods(tmp_path) -> None:
    first = fit(mesh(), Net(), max_steps=9)
    first.save_checkpoint(tmp_path / "c.ckpt")
    joined = mesh()
    trainer = pl.Trainer(callbacks=[joined], max_steps=14, **PLAIN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Net(), loader(), ckpt_path=tmp_path / "c.ckpt")
    assert joined._learner.period == 3 + 1 + 1


def test_a_node_trains_in_one_process() -> None:
    class Many(pl.Trainer):
        world_size = 2

    with pytest.raises(qsynth.ConfigError, match="devices=1"):
        fit(mesh(), Net(), trainer=Many)


def test_a_predictor_never_changes_the_module_that_it_is_given(tmp_path) -> None:
    joined, network = mesh(), Net()
    fit(joined, network)
    joined.save(tmp_path / "p.pt")
    fresh = Net()
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    predictor = qsynth.load_predictor(tmp_path / "p.pt", network=fresh)
    assert all(torch.equal(v, before[k]) for k, v in fresh.state_dict().items())
    with torch.no_grad():
        assert torch.equal(predictor(torch.tensor(X)), joined.predictor(torch.tensor(X)))
    with torch.no_grad():
        for p in network.parameters():
            p.zero_()  # whatever becomes of the module afterwards
    with torch.no_grad():
        assert torch.equal(predictor(torch.tensor(X)), joined.predictor(torch.tensor(X)))
    with pytest.raises(qsynth.DataError, match="of another network than Linear"):
        qsynth.load_predictor(tmp_path / "p.pt", network=nn.Linear(4, 3))


def test_a_failed_fit_leaves_the_module_as_it_was() -> None:
    class Fails(Net):
        def training_step(self, batch, index):
            if index == 2:
                raise RuntimeError("boom")
            return super().training_step(batch, index)

    network = Fails()
    joined = mesh(synthesis=qsynth.AnalyticHead(network="boost"))
    with pytest.raises(RuntimeError, match="boom"):
        fit(joined, network)
    assert not network._forward_hooks
    joined = mesh(synthesis=qsynth.AnalyticHead(network="boost"))
    fit(joined, Net())
    fit(joined, Net())  # the second fit has a hook of its own


def test_trainers_and_modules_of_the_other_package_work() -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="the package lightning is not here")
    bases = (lightning.LightningModule,)
    other = type("Other", bases, {k: v for k, v in vars(Net).items() if k != "__init__"})

    def init(self) -> None:
        lightning.LightningModule.__init__(self)
        self.lr, self.ruined_at = 0.05, -1
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    other.__init__ = init
    joined = mesh()
    assert isinstance(joined, lightning.Callback)
    assert isinstance(joined, pl.Callback)
    fit(joined, other(), trainer=lightning.Trainer)
    with torch.no_grad():
        assert torch.isfinite(joined.predictor(torch.tensor(X))).all()
    alone = joined.alone()
    assert type(alone) is type(joined)
    fit(alone, Net())


def test_the_file_of_a_node_that_is_no_key_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(qsynth.ConfigError, match="is no key file"):
        mesh(identity=tmp_path / "key")


@pytest.mark.parametrize(("alike", "told"), [(0.42, True), (0.7, False)])
def test_a_fit_that_met_nobody_alike_enough_says_so(alike, told) -> None:
    from contextlib import nullcontext
    from types import SimpleNamespace as Fake

    published, silent = Fake(version=1, vector=lambda: None), Fake(version=0)
    table = Fake(contacts={b"a": published, b"b": silent})
    node = Fake(table=table, held={}, service=lambda _: None)
    host, participant = Fake(node=node, paused=nullcontext), Fake(alike=lambda _: alike)
    assert unlike(host, participant, qsynth.Semantic()) == (
        "1 nodes have published, none alike enough to learn from: the most alike 0.42, the floor "
        "0.6; lower it: peers=qsynth.Semantic(min_similarity=...)"
        if told
        else ""
    )
