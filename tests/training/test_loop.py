"""The loop of bundled networks beside its twin, a stock Trainer: the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import TensorDataset

from qsynth.errors import StateError
from qsynth.model import make_network
from qsynth.model.cnn import CNN
from qsynth.model.linear import Linear
from qsynth.model.mlp import MLP
from qsynth.model.resnet import ResNet
from qsynth.pipeline.teach import Teaching
from qsynth.training.fit import quietly
from qsynth.training.learner import TrainerLearner
from qsynth.training.loader import ResumableLoader
from qsynth.training.loop import Loop, of_a_loop

STEPS, PERIOD = 13, 5
MODELS = [
    Linear(),
    MLP(width=8, dropout=0.3),
    MLP(width=8, schedule="cosine", weight_decay=0.1),
    CNN(width=4, augment="shift_flip"),
    ResNet(width=4),
]


class Stop(pl.Callback):
    """Save a checkpoint after a step, and end there."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise KeyError("stopped")


def lesson(task, offset: bool) -> Teaching:
    generator = torch.Generator().manual_seed(9)
    inputs = torch.rand(20, *task.shape, generator=generator)
    targets = torch.rand(20, task.classes, generator=generator).softmax(dim=1)
    shift = torch.linspace(-1.0, 1.0, task.classes)
    if not offset:
        return Teaching(inputs, targets, 1.5, 8, 2)
    return Teaching(inputs, targets, 1.5, 8, 2, shift.expand(20, -1), lambda x: shift)


def fitted(config, task, way, clip=None, offset=False, stop=(), saved=None):
    """Return the network that `way` has trained, and the periods of its exchanges."""
    torch.manual_seed(3)
    network = make_network(config, task)
    generator = torch.Generator().manual_seed(4)
    data = TensorDataset(torch.rand(22, *task.shape, generator=generator), torch.arange(22) % 3)
    periods = []

    def exchange(period: int, module: nn.Module) -> Teaching | None:
        assert module is network
        periods.append(period)
        return None if period == 1 else lesson(task, offset)

    callbacks = [TrainerLearner(PERIOD, exchange, 7), *stop]
    loader = ResumableLoader(data, 6, 5)
    try:
        if way is Loop:
            Loop(STEPS, clip, callbacks).fit(network, loader, saved)
        else:
            trainer = pl.Trainer(
                max_steps=STEPS,
                max_epochs=-1,
                callbacks=callbacks,
                gradient_clip_val=clip,
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            quietly(lambda: trainer.fit(network, loader, ckpt_path=saved))
    except KeyError:
        assert stop
    return network, periods


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("offset", [False, True], ids=["plain", "offset"])
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("config", MODELS, ids=lambda m: f"{m.name}-{m.augment}-{m.schedule}")
def test_the_same_weights_as_a_trainer_bit_for_bit(config, clip, offset, task) -> None:
    torch.manual_seed(3)
    began = make_network(config, task)
    ours, periods = fitted(config, task, Loop, clip, offset)
    theirs, others = fitted(config, task, pl.Trainer, clip, offset)
    assert periods == others == [0, 1, 2, 3]
    assert same(ours, theirs)
    assert not same(ours, began)


@pytest.mark.parametrize("way", [Loop, pl.Trainer])
def test_it_goes_on_from_a_checkpoint_of_either(way, task, tmp_path: Path) -> None:
    config = MLP(width=8, schedule="cosine")
    whole, _ = fitted(config, task, Loop)
    for step in range(1, STEPS):
        saved = tmp_path / f"{step}.ckpt"
        fitted(config, task, way, stop=[Stop(step, saved)])
        assert of_a_loop(saved) == (way is Loop)
        again, periods = fitted(config, task, Loop, saved=saved)
        assert periods == list(range(step // PERIOD, 4))
        assert same(again, whole), step


def test_a_fit_that_had_ended_calls_no_hook(task, tmp_path: Path) -> None:
    saved = tmp_path / "end.ckpt"

    class Last(Stop):
        def on_train_end(self, trainer, *_) -> None:
            trainer.save_checkpoint(self.path)

    whole, _ = fitted(MLP(width=8), task, Loop, stop=[Last(-1, saved)])
    again, periods = fitted(MLP(width=8), task, Loop, saved=saved)
    assert periods == []
    assert same(again, whole)


@pytest.mark.parametrize("other", [Linear(), MLP(width=9), MLP(width=8, depth=2)], ids=str)
def test_another_networks_checkpoint_is_refused(other, task, tmp_path: Path) -> None:
    saved = tmp_path / "one.ckpt"
    fitted(MLP(width=8), task, Loop, stop=[Stop(4, saved)])
    with pytest.raises(StateError, match="not a checkpoint of such a fit"):
        fitted(other, task, Loop, saved=saved)
