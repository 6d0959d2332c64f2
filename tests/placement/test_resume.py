"""What goes on from where it was interrupted is what it would have been, bit for bit."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from qsynth.cli.main import main
from qsynth.errors import StateError, UntrustedError
from qsynth.identity.seal import seal
from qsynth.simulation.simulate import Simulation, simulate
from qsynth.simulation.snapshot import Snapshots
from qsynth.training.fit import quietly
from qsynth.training.loader import ResumableLoader
from tests.commands import answered
from tests.placement.test_placement import (
    FEW,
    LONG,
    SMALL,
    digests,
    plan,
    start,
    training,
    wait_for,
    weights,
)

STEPS = 14


class Small(pl.LightningModule):
    """A network that remembers its batches."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3))
        self.seen: list[tuple[int, list[float]]] = []

    def training_step(self, batch, number):
        self.seen.append((number, batch[0][:, 0].tolist()))
        return nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.9)]


class Killed(Exception):
    """Stand for a kill."""


class Stop(pl.Callback):
    """Save after a step, and end."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise Killed


def fitted(loader: type, *callbacks, saved=None) -> Small:
    generator = torch.Generator().manual_seed(3)
    data = TensorDataset(torch.randn(22, 5, generator=generator), torch.arange(22) % 3)
    if loader is ResumableLoader:
        batches = ResumableLoader(data, 4, 4)
    else:
        generator.manual_seed(4)
        batches = DataLoader(data, 4, shuffle=True, drop_last=True, generator=generator)
    network = Small()
    trainer = pl.Trainer(
        max_steps=STEPS,
        max_epochs=-1,
        callbacks=list(callbacks),
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    try:
        trainer.fit(network, batches, ckpt_path=saved)
    except Killed:
        pass
    return network


def test_a_fit_goes_on_with_the_batches_and_weights_it_would_have_had(tmp_path: Path) -> None:
    whole = quietly(lambda: fitted(ResumableLoader))
    assert whole.seen == quietly(lambda: fitted(DataLoader)).seen  # the order is torch's own
    for step in range(1, STEPS):
        saved = tmp_path / f"{step}.ckpt"
        first = quietly(lambda s=step, p=saved: fitted(ResumableLoader, Stop(s, p)))
        second = quietly(lambda p=saved: fitted(ResumableLoader, saved=p))
        assert first.seen + second.seen == whole.seen, step
        pairs = zip(second.state_dict().values(), whole.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs), step


class Torn(Snapshots):
    """Save after every so many turns of the clock, and be killed after some."""

    every = 40

    def __init__(self, folder: Path, digest: bytes, saves: int | None) -> None:
        super().__init__(folder, 0.0, digest)
        self.saves, self.turns, self.made = saves, 0, 0

    @property
    def due(self) -> bool:
        self.turns += 1
        return self.turns % self.every == 0

    def save(self, simulation) -> None:
        super().save(simulation)
        self.made += 1
        if self.made == self.saves:
            raise Killed


DRIFTING = ["partition=rotations", "partition.drift_period=2", "partition.samples_per_node=80"]


BATCHED = ["placement.learner=batched"]
KINDS = {
    "plain": [],
    "drift": DRIFTING,
    "growth": ["partition=iid", "growth=scheduled", "growth.first=30", "growth.rows=9"],
    "sums": ["peers=sums"],
    "batched": BATCHED,
    "batched drift": [*BATCHED, *DRIFTING],
}


@pytest.mark.slow
@pytest.mark.parametrize("more", KINDS.values(), ids=KINDS)
def test_a_simulation_goes_on_bit_for_bit(tmp_path: Path, more: list[str]) -> None:
    few = ["fleet.mlp.count=2", "fleet.cnn.count=1", "fleet.linear.count=2"]
    words = ["trainer.max_steps=40", *few, *more]
    simulate(plan(tmp_path / "whole", *words))
    lives = 0
    while True:
        lives += 1
        snapshots = Torn(tmp_path / "torn" / "snapshot", b"one", 1 + 2 * lives)
        try:
            simulate(plan(tmp_path / "torn", *words), snapshots=snapshots)
            break
        except Killed:
            continue
    assert lives >= 2
    assert digests(tmp_path / "whole") == digests(tmp_path / "torn")
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "torn")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    for path in (tmp_path / "whole").glob("nodes/*/*.json*"):
        other = tmp_path / "torn" / path.relative_to(tmp_path / "whole")
        assert path.read_text() == other.read_text(), path.name


def test_a_snapshot_that_is_torn_or_of_another_config_is_refused(tmp_path: Path) -> None:
    made = plan(tmp_path, "trainer.max_steps=20")
    folder = tmp_path / "snapshot"
    with pytest.raises(Killed):
        simulate(made, snapshots=Torn(folder, b"one", 2))
    with pytest.raises(StateError, match="config"):
        Snapshots(folder, 1.0, b"two").load(made, Simulation)
    os.rename(folder, tmp_path / "snapshot.before")  # killed between two renames
    assert Snapshots(folder, 1.0, b"one").load(made, Simulation) is not None
    path = folder / "simulation.pickle"
    data = path.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(UntrustedError, match="torn"):
            Snapshots(folder, 1.0, b"one").load(made, Simulation)
        seal(path)
        with pytest.raises(StateError, match="cannot be read"):
            Snapshots(folder, 1.0, b"one").load(made, Simulation)
    path.write_bytes(pickle.dumps({}))
    seal(path)
    with pytest.raises(StateError, match="made with"):
        Snapshots(folder, 1.0, b"one").load(made, Simulation)


def test_a_full_disk_leaves_the_snapshot_before(tmp_path: Path, monkeypatch) -> None:
    made = plan(tmp_path, "trainer.max_steps=20")
    folder = tmp_path / "snapshot"
    with pytest.raises(Killed):
        simulate(made, snapshots=Torn(folder, b"one", 1))
    before = (folder / "simulation.pickle").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError, match="No space left"):
        simulate(made, snapshots=Torn(folder, b"one", None))
    assert (folder / "simulation.pickle").read_bytes() == before


def test_mistakes_of_resume_are_answered_in_one_line(tmp_path: Path, capsys) -> None:
    assert main(["run", "--resume", str(tmp_path)]) == 2
    assert "no run folder" in capsys.readouterr().err
    assert main(["run", "--resume", str(tmp_path), "seed=1"]) == 2
    assert "takes no overrides" in capsys.readouterr().err


def test_a_run_that_has_ended_is_reported_again(tmp_path: Path, capsys) -> None:
    words = ["+recipe=digits_mesh", *SMALL, "trainer.max_steps=10", f"folder={tmp_path}"]
    assert main(["run", *words, "--json", "--quiet"]) == 0
    first = json.loads(capsys.readouterr().out)
    (folder,) = tmp_path.iterdir()
    assert main(["run", "--resume", str(folder), "--json", "--quiet"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["accuracy"] == first["accuracy"]


@pytest.mark.slow
def test_processes_that_were_killed_go_on_as_who_they_were(tmp_path: Path) -> None:
    run = start(tmp_path, *LONG, *FEW, "trainer.max_steps=3000", "trainer.checkpoint_s=1")
    pids = wait_for(lambda: training(tmp_path, 4))
    (folder,) = tmp_path.iterdir()
    wait_for(lambda: len(list(folder.glob("nodes/*/fit.ckpt"))) == 4)
    run.kill()
    run.communicate(timeout=240)
    for name in sorted(pids)[:3]:  # the others go on without their runner, and are waited for
        os.kill(pids[name], signal.SIGKILL)
    time.sleep(0.5)
    # Not in this process: other tests may have opened a socket in it, and it must fork.
    words = ["run", "--resume", str(folder), "--json", "--quiet"]
    again = answered(*words)
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout.strip().splitlines()[-1])
    assert summary["failures"] == []
    assert summary["pairs"]["realised"] <= summary["pairs"]["possible"]
    for path in folder.glob("nodes/*/events.jsonl"):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        begun = [event["id"] for event in events if event["event"] == "started"]
        # A survivor may have ended by then: it serves again as long as others train.
        assert len(begun) == 2 or (len(begun) == 1 and path.parent.name in sorted(pids)[3:])
        assert len(set(begun)) == 1
        versions = [event["version"] for event in events if event["event"] == "publish"]
        assert len(set(versions)) == len(versions)
        assert all(event["author"] != begun[0] for event in events if event["event"] == "admit")
