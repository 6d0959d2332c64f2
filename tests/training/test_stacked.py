"""Networks that train in one computation, beside the same networks on stock Trainers."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
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
from qsynth.training.stacked import BatchedLearners, Slot
from qsynth.types import Task

PERIOD, STEPS = 5, 13
SIZES = (23, 17, 30)  # samples of the nodes: epochs end at different steps


def samples(number: int, task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(number)
    count = SIZES[number]
    inputs = torch.rand(count, *task.shape, generator=generator)
    if task.classified:
        return inputs, torch.arange(count) % task.classes
    return inputs, torch.rand(count, task.classes, generator=generator).round()


def lesson(number: int, task: Task) -> Teaching | None:
    if number == 1:
        return None  # a node that nobody teaches trains beside the others
    generator = torch.Generator().manual_seed(50 + number)
    inputs = torch.rand(20 + number, *task.shape, generator=generator)
    targets = torch.rand(20 + number, task.classes, generator=generator)
    targets = targets.softmax(dim=1) if task.classified else targets.round()
    return Teaching(inputs, targets, 1.5 + number, 8, 2, kind=task.kind)


def one_by_one(config, task: Task, clip: float | None) -> list[dict[str, torch.Tensor]]:
    trained = []
    for number in range(len(SIZES)):
        torch.manual_seed(number)
        network = make_network(config, task)
        data = TensorDataset(*samples(number, task))
        learner = TrainerLearner(PERIOD, lambda *_, n=number: lesson(n, task), number)
        trainer = pl.Trainer(
            max_steps=STEPS,
            max_epochs=-1,
            callbacks=[learner],
            gradient_clip_val=clip,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        quietly(lambda t=trainer, n=network, d=data, s=number: t.fit(n, ResumableLoader(d, 6, s)))
        trained.append({k: p.detach() for k, p in network.named_parameters()})
    return trained


def together(
    config, task: Task, clip: float | None, torn: bool = False, threads: int = 1
) -> BatchedLearners:
    learners = BatchedLearners(make_network(config, task), len(SIZES), STEPS, clip, threads)
    for number in range(len(SIZES)):
        torch.manual_seed(number)
        loader, teacher = (torch.Generator().manual_seed(number) for _ in range(2))
        slot = Slot(*samples(number, task), 6, loader, teacher)
        assert learners.add(make_network(config, task), slot) == number
    done = 0
    while done < STEPS:
        steps = min(PERIOD, STEPS - done)
        for number in range(len(SIZES)):
            learners.ask(number, steps, lesson(number, task))
        learners.ready(0)
        assert [slot.steps for slot in learners.slots] == [done + steps] * len(SIZES)
        done += steps
        if torn:
            learners = pickle.loads(pickle.dumps(learners))
    return learners


CASES = [
    (Linear(), None),
    (MLP(width=8), None),
    (MLP(width=8, depth=2, schedule="cosine"), None),
    (MLP(width=8, weight_decay=0.1), 0.05),
    (CNN(width=4), None),
    (ResNet(width=4), 0.5),
]


@pytest.mark.parametrize(("config", "clip"), CASES, ids=lambda v: getattr(v, "name", str(v)))
def test_the_same_weights_as_one_by_one(config, clip, task) -> None:
    single, batched = one_by_one(config, task, clip), together(config, task, clip)
    moved = 0.0
    for number, network in enumerate(single):
        torch.manual_seed(number)
        began = dict(make_network(config, task).named_parameters())
        for name, weight in network.items():
            moved = max(moved, float((weight - began[name].detach()).abs().max()))
            if config.name == "resnet" and name == "network.0.bias":
                continue  # a norm takes it out: its gradient is nothing but rounding
            near = {"atol": 2e-5, "rtol": 1e-4}
            torch.testing.assert_close(batched.parameters[name][number], weight, **near)
    assert moved > 3e-3, "nothing has trained"


@pytest.mark.parametrize("kind", ["labels", "values"])
def test_other_kinds_of_targets_too(kind, task) -> None:
    other = Task(task.name, 1, task.labels, "image", task.shape, "", 0.0, 1.0, kind=kind)
    single, batched = one_by_one(MLP(width=8), other, None), together(MLP(width=8), other, None)
    for number, network in enumerate(single):
        for name, weight in network.items():
            near = {"atol": 2e-5, "rtol": 1e-4}
            torch.testing.assert_close(batched.parameters[name][number], weight, **near)


def test_it_is_itself_bit_for_bit_also_through_a_snapshot(task) -> None:
    config = MLP(width=8)
    one, two = together(config, task, None), together(config, task, None, torn=True)
    for name, weights in one.parameters.items():
        assert torch.equal(weights, two.parameters[name])


@pytest.mark.parametrize("config", [MLP(width=8), CNN(width=4)], ids=lambda c: c.name)
def test_threads_do_not_change_a_bit(config, task, monkeypatch) -> None:
    monkeypatch.setattr("qsynth.training.stacked.CHUNK_FLOATS", 1)  # a part for each node
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # as simulations do
    try:
        one, three = together(config, task, None), together(config, task, None, threads=3)
    finally:
        torch.set_num_threads(before)
    for name, weights in one.parameters.items():
        assert torch.equal(weights, three.parameters[name])


def test_what_goes_wrong_in_a_thread_is_told_to_whose_steps_it_was(task, monkeypatch) -> None:
    monkeypatch.setattr("qsynth.training.stacked.CHUNK_FLOATS", 1)
    learners = together(MLP(width=8), task, None, threads=2)
    bad = Teaching(torch.rand(4, 1, 3, 3), torch.ones(4, 3), 1.0, 4, 1)
    learners.ask(0, 1, None)
    learners.ask(1, 1, bad)
    learners.ready(0)
    assert learners.slots[0].steps == STEPS + 1
    with pytest.raises(RuntimeError):
        learners.ready(1)


def test_who_does_not_wait_does_not_train_and_views_are_the_nodes_own(task) -> None:
    learners = together(MLP(width=8), task, None)
    before = {k: p.clone() for k, p in learners.parameters.items()}
    learners.ask(1, 4, None)
    learners.ready(0)  # it has nothing to wait for
    assert all(torch.equal(p, before[k]) for k, p in learners.parameters.items())
    learners.ready(1)
    changed = [
        n
        for n in range(3)
        if not torch.equal(
            learners.parameters["network.1.weight"][n], before["network.1.weight"][n]
        )
    ]
    assert changed == [1]
    x = torch.rand(2, *task.shape)
    answers = [learners.network(n)(x).detach().clone() for n in range(3)]
    assert not torch.equal(answers[0], answers[2])
    assert torch.equal(learners.network(0)(x), answers[0])


def test_what_nodes_do_not_train_now_lives_in_files_without_a_name(task) -> None:
    learners = BatchedLearners(make_network(MLP(), task), 3, 10)
    maps = Path("/proc/self/maps").read_text()
    parameters = len(learners.parameters)
    assert maps.count("qsynth-learners-") >= 3 * parameters > 0
    assert "(deleted)" in maps
    assert not any(values.any() for values in learners.parameters.values())


def test_a_disk_without_room_is_told_beforehand(monkeypatch, task) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(StateError, match="No space left"):
        BatchedLearners(make_network(MLP(), task), 3, 10)
