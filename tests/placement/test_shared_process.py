"""Many nodes in one process, and processes started anew: the same mesh, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
import yaml
from pytorch_lightning.accelerators import MPSAccelerator

from qsynth.cli.main import main
from qsynth.errors import ConfigError, StateError
from qsynth.identity.seal import seal
from qsynth.model import make_network
from qsynth.model.classifier import Classifier
from qsynth.placement.base import Spec
from qsynth.placement.cluster import LOST, keep, kept, tasks_of, told
from qsynth.placement.processes import starts_anew
from qsynth.placement.supervisor import Task, part_file
from qsynth.protocol.journal import in_use
from qsynth.simulation.batched import BatchedFit
from qsynth.training.fit import why_a_trainer
from qsynth.training.stacked import BatchedLearners
from tests.commands import Command
from tests.placement.test_placement import plan, start, training, wait_for

CROWD = ["placement.nodes_per_process=4", "placement.learner=batched"]


def summary_of(run: Command) -> dict:
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    return json.loads(out.strip().splitlines()[-1])


@pytest.mark.slow
def test_a_killed_crowd_goes_on_as_who_they_were(tmp_path: Path) -> None:
    """Three architectures in two processes: batched ones and, with dropout, some by threads."""
    words = [
        *CROWD,
        "+fleet.mlp.model.dropout=0.1",
        "trainer.period_steps=50",
        "trainer.max_steps=600",
        "trainer.checkpoint_s=1",
    ]
    run = start(tmp_path, *words)
    pids = wait_for(lambda: training(tmp_path, 8))
    assert len(set(pids.values())) == 2
    (folder,) = tmp_path.iterdir()
    kept = ("batched.ckpt", "fit.ckpt")
    wait_for(lambda: sum(len(list(folder.glob(f"nodes/*/{name}"))) for name in kept) == 8)
    victim = pids["mlp-0"]
    run.kill()
    run.communicate(timeout=240)
    os.kill(victim, signal.SIGKILL)
    nodes = [folder / "nodes" / name for name, pid in pids.items() if pid == victim]
    wait_for(lambda: not any(map(in_use, nodes)))
    words = ["run", "--resume", str(folder), "--json", "--quiet"]
    summary = summary_of(Command(*words))
    assert summary["failures"] == []
    assert summary["accuracy"]["own"]["mean"] > 0.85
    for name, pid in pids.items():
        lines = (folder / "nodes" / name / "events.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        begun = [event for event in events if event["event"] == "started"]
        assert len({event["id"] for event in begun}) == 1
        if pid == victim:
            assert len(begun) == 2
            after = [
                e["period"]
                for e in events
                if e["event"] == "period" and e["time"] >= begun[1]["time"]
            ]
            assert min(after) > 0, "it trained anew"


@pytest.mark.slow
def test_processes_started_anew_are_the_same_mesh(tmp_path: Path) -> None:
    """As where networks train on a GPU: started anew, and by Trainers."""
    words = ["trainer.accelerator=auto", "placement.nodes_per_process=2", "trainer.max_steps=60"]
    run = start(tmp_path, *words, "fleet.cnn.count=1", "fleet.mlp.count=2", "fleet.linear.count=1")
    summary = summary_of(run)
    assert summary["failures"] == []
    assert summary["pairs"]["realised"] > 0


def test_only_where_networks_train_on_the_cpu_processes_are_forked(tmp_path: Path) -> None:
    assert not starts_anew(plan(tmp_path, "placement=processes"))
    assert starts_anew(plan(tmp_path, "placement=processes", "placement.start=spawn"))
    made = plan(tmp_path, "placement=processes", "trainer.accelerator=auto")
    assert starts_anew(made)
    assert {why_a_trainer(made, node) for node in made.nodes} == {"trainer.accelerator"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trainer.accelerator=auto placement=simulate", "use placement=processes"),
        ("trainer.accelerator=auto placement=processes placement.start=fork", "use auto or spawn"),
        ("trainer.accelerator=mps placement=processes", "this machine has none; use cpu or auto"),
    ],
)
def test_an_accelerator_that_cannot_be_used_is_told(tmp_path, monkeypatch, words, said) -> None:
    monkeypatch.setattr(MPSAccelerator, "is_available", staticmethod(lambda: False))
    with pytest.raises(ConfigError, match=said):
        plan(tmp_path, *words.split())


def test_a_batched_fit_goes_on_bit_for_bit(tmp_path: Path) -> None:
    made = plan(tmp_path, "trainer.max_steps=40", "placement.learner=batched")
    nodes = [node for node in made.nodes if node.name.startswith("mlp")]

    def fits() -> tuple[BatchedLearners, list[BatchedFit]]:
        template = make_network(nodes[0].model, made.data.task)
        assert isinstance(template, Classifier)
        learners = BatchedLearners(template, len(nodes), 40)
        return learners, [BatchedFit(made, node, learners) for node in nodes]

    def rounds(each: list[BatchedFit], count: int) -> None:
        for _ in range(count):
            for fit in each:
                fit.train()
                fit.turn(lambda *_: None)

    whole, all_of = fits()
    for fit in all_of:
        fit.turn(lambda *_: None)
    rounds(all_of, 2)
    saved = []
    for fit in all_of:
        fit.train()
        saved.append(fit.state())
        fit.turn(lambda *_: None)
    rounds(all_of, 1)
    other, again = fits()
    for fit, state in zip(again, saved, strict=True):
        path = tmp_path / "state"
        torch.save(state, path)
        fit.restore(torch.load(path, weights_only=True))
        assert fit.period == 3
        assert not fit.turn(lambda *_: None)
    rounds(again, 1)
    for name, values in whole.parameters.items():
        assert torch.equal(values, other.parameters[name]), name


def test_what_a_part_tells_is_read_or_waited_for(tmp_path: Path) -> None:
    nodes = ("a-0", "a-1")
    assert told(tmp_path, nodes) is None
    path = part_file(tmp_path, nodes)
    path.parent.mkdir()
    for torn in ("", "{", "[]", '{"codes": 3}', '{"codes": {"a-0": "x"}}'):
        path.write_text(torn)
        assert told(tmp_path, nodes) is None, torn
    path.write_text('{"codes": {"a-0": 0}}')
    assert told(tmp_path, nodes) == {"a-0": 0, "a-1": LOST}


def test_what_is_placed_where_is_kept_for_another_runner(tmp_path: Path) -> None:
    assert kept(tmp_path) == []
    keep(tmp_path, [("7_0", ("a-0", "a-1")), ("7_1", ["b-0"])])
    assert kept(tmp_path) == [("7_0", ("a-0", "a-1")), ("7_1", ("b-0",))]
    for torn in ("", "[]", '{"tasks": 3}', '{"tasks": [{"name": 1}]}'):
        (tmp_path / "placement.json").write_text(torn)
        assert kept(tmp_path) == [], torn


def test_tasks_hold_so_many_nodes_and_forget_what_was_told(tmp_path: Path) -> None:
    made = plan(tmp_path, "placement=slurm", "mesh=tcp", "placement.nodes_per_task=3")
    names = tuple(node.name for node in made.nodes)
    old = part_file(tmp_path, names[:3])
    old.parent.mkdir()
    old.write_text('{"codes": {}}')
    tasks = tasks_of(made, Spec(tmp_path, names[::-1]), logs=True)
    assert [task.nodes for task in tasks] == [names[:3], names[3:6], names[6:]]
    assert not old.exists()
    assert tasks[0].command()[-6:] == [str(tmp_path), *names[:3], "--mine", "--mortal"]
    assert tasks[2].log == str(tmp_path / "parts" / f"{names[6]}.log")


class Short(Task):
    """A task whose command is a shell's."""

    def command(self) -> list[str]:
        return ["sh", "-c", "echo life >> lives; env > seen; " + self.nodes[0]]


@pytest.mark.parametrize(
    ("command", "code", "lives"),
    [
        ("exit 0", 0, 1),
        ("exit 3", 3, 1),
        ("kill -9 $$", -9, 3),
        ("kill -15 $$", -15, 3),
        ("exit 75", 75, 3),
        ("test $(wc -l < lives) = 2 || kill -9 $$", 0, 2),
    ],
)
def test_a_task_is_started_again_where_a_signal_ended_it(
    tmp_path: Path, monkeypatch, command: str, code: int, lives: int
) -> None:
    monkeypatch.setattr("qsynth.placement.supervisor.BACKOFF_S", 0.0)
    monkeypatch.setattr("qsynth.placement.supervisor.GRACE_S", 0.0)
    monkeypatch.setenv("SLURM_NTASKS", "7")
    monkeypatch.setenv("RAY_JOB_ID", "7")
    task = Short(str(tmp_path), (command,), str(tmp_path), "", 2, str(tmp_path / "log"))
    assert task() == code
    assert len((tmp_path / "lives").read_text().splitlines()) == lives
    seen = (tmp_path / "seen").read_text()
    assert "SLURM_NTASKS" not in seen
    assert "RAY_JOB_ID" not in seen
    assert "PATH=" in seen


MISTAKES = [
    (["run", "+recipe=digits_mesh", "placement=slurm"], "use mesh=tcp"),
    (["run", "+recipe=digits_mesh", "placement=ray", "mesh=memory"], "need sockets"),
    (["run", "+recipe=digits_mesh", "mesh=tcp", "mesh.host=auto"], "mesh.insecure=true"),
    (
        ["run", "+recipe=digits_mesh", "mesh=tcp", "mesh.host=0.0.0.0", "mesh.insecure=true"],
        "use mesh.host=auto",
    ),
    (["run", "+recipe=digits_mesh", "placement=slurmm"], "did you mean slurm"),
    (["part"], "needs the folder"),
    (["part", "nowhere", "mlp-0"], "no run folder"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=lambda w: " ".join(w)[-40:])
def test_mistakes_are_answered_in_one_line(words: list[str], said: str, capsys) -> None:
    assert main(words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_part_of_unknown_nodes_is_refused(tmp_path: Path, capsys) -> None:
    words = [
        "+recipe=digits_mesh",
        "trainer.max_steps=10",
        f"folder={tmp_path}",
        "placement=simulate",
        "baselines=[]",
        "trainer.curve_points=0",
    ]
    assert main(["run", *words, "--quiet"]) == 0
    (folder,) = tmp_path.iterdir()
    assert main(["part", str(folder), "mlp-0"]) == 2
    assert "simulated run" in capsys.readouterr().err
    config = folder / "config.yaml"
    values = yaml.safe_load(config.read_text())
    values["placement"] = {"name": "processes"}
    values["mesh"] = {"name": "ipc"}
    config.write_text(yaml.safe_dump(values))
    assert main(["part", str(folder), "mpl-0"]) == 3
    assert "no seal of yours" in capsys.readouterr().err
    seal(config)
    assert main(["part", str(folder), "mpl-0"]) == 2
    assert "did you mean mlp-0" in capsys.readouterr().err
    with pytest.raises(StateError, match="not a checkpoint"):
        _broken(tmp_path)


def _broken(folder: Path) -> None:
    from qsynth.placement.shared_process import BatchedTurns

    made = plan(folder / "other", "trainer.max_steps=10", "placement.learner=batched")
    node = made.nodes[0]
    template = make_network(node.model, made.data.task)
    own = BatchedFit(made, node, BatchedLearners(template, 1, 10))
    hosted = type("Hosted", (), {"folder": folder})
    torch.save({"period": 1, "slot": {}, "weights": [{}, {}, {}]}, folder / "batched.ckpt")
    BatchedTurns(own, hosted, lambda *_: None)
