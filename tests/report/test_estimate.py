"""A plan: right about networks and packets, not far off about traffic, and quick."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.data.arrays import Arrays
from qsynth.data.digits import Digits
from qsynth.data.layout import layout_of
from qsynth.data.load import load_data
from qsynth.data.task import FromData
from qsynth.errors import DataError
from qsynth.model import make_network
from qsynth.model.cnn import CNN
from qsynth.model.linear import Linear
from qsynth.model.mlp import MLP
from qsynth.model.module import Module
from qsynth.model.resnet import ResNet
from qsynth.recipe.compose import compose
from qsynth.report.estimate import TRAINER_S, forecast
from qsynth.types import Task

CONFIGS = [
    Linear(),
    MLP(width=7, depth=3),
    MLP(width=64),
    CNN(width=4, depth=1),
    CNN(depth=3),
    CNN(width=8, depth=5),
    ResNet(width=8, depth=1),
    ResNet(width=8, depth=3),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 16), (1, 7, 7)])
def test_networks_have_the_parameters_and_the_work_that_a_plan_says(config, shape) -> None:
    import torch

    task = Task("t", 1, tuple("abcde"), "image", shape, "", 0.0, 1.0)
    network = make_network(config, task)
    parameters, work = config.size(shape, 5)
    assert parameters == sum(p.numel() for p in network.parameters())
    done = 0

    def count(module, inputs, output) -> None:
        nonlocal done
        weights = module.weight.numel()
        places = output.shape[2] * output.shape[3] if output.ndim == 4 else 1
        done += weights * places

    for module in network.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            module.register_forward_hook(count)
    network(torch.zeros(1, *shape))
    assert work == done
    assert Module(target="a.B").size(shape, 5) is None


def test_layouts_are_those_of_the_data(tmp_path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "own.npz"
    np.savez(path, x=rng.random((400, 3, 6, 6)), y=np.arange(400) % 4, node=np.arange(400) % 5)
    for config in (Digits(), Digits(positives=("3",)), Arrays(path=str(path))):
        data, said = load_data(config, FromData()), layout_of(config, FromData())
        assert said is not None
        assert said.shape == data.task.shape
        assert said.outputs == data.task.classes
        assert said.layout == data.task.layout
        assert abs(said.train - len(data.train_y)) <= 12
    assert layout_of(Arrays(path=str(path)), FromData()).sites == 5
    with pytest.raises(DataError, match="no such"):
        layout_of(Arrays(path="nowhere.npz"), FromData())
    path.write_bytes(b"rubbish")
    with pytest.raises(DataError, match=r"np\.savez"):
        layout_of(Arrays(path=str(path)), FromData())


@pytest.mark.slow
def test_a_plan_is_near_what_a_run_sends(tmp_path, capsys) -> None:
    words = [
        "+recipe=digits_mesh",
        "placement=simulate",
        "baselines=[]",
        "trainer.max_steps=20",
        "trainer.period_steps=4",
        "fleet.mlp.count=2",
        "fleet.cnn.count=1",
        "fleet.linear.count=1",
        "encoder.fit_images=300",
    ]
    assert main(["plan", *words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert main(["run", *words, f"folder={tmp_path}", "--json", "--quiet"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert abs(plan["packet"]["bytes"] / summary["packets"]["bytes_mean"] - 1.0) < 0.35
    ratio = plan["traffic"]["bytes_per_node"] / (summary["traffic"]["bytes_total"] / 4)
    assert 0.5 < ratio < 2.0
    assert plan["nodes"] == summary["nodes"]


def test_a_trainer_costs_what_a_loop_does_and_more() -> None:
    loop, logged = (
        forecast(compose([f"trainer.logger={name}", "trainer.max_steps=1000"]).config)["cpu_s"]
        for name in ("none", "csv")
    )
    nodes = forecast(compose([]).config)["nodes"]
    assert logged - loop == pytest.approx(nodes * 1000 * TRAINER_S, abs=0.2)


def test_advice_says_fedavg_where_that_is_simpler() -> None:
    same = ["fleet.cnn.count=0", "fleet.linear.count=0"]
    assert "Use FedAvg" in forecast(compose([*same, "partition=iid"]).config)["advice"]
    assert "FedAvg" not in forecast(compose(["partition=iid"]).config)["advice"]
    rotated = forecast(compose([*same, "partition=rotations"]).config)
    assert "Use FedAvg" not in rotated["advice"]
    assert rotated["instead"]["fedavg_bytes"] == 2 * 20 * rotated["groups"][0]["bytes"]
    alone = forecast(compose([*same, "fleet.mlp.count=1"]).config)
    assert "nobody to learn from" in alone["advice"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["distill=class_logits", "synthesis=class_kd"],
        ["distill=mosaic", "synthesis=replay"],
        ["distill.coding=means", "distill.d=20"],
        ["data=module", "data.target=a.B"],
        ["model=module", "model.target=a.B", "fleet.mlp.count=0", "+fleet.own.count=2"],
        ["dht.full_view_below=2"],
        ["peers=none"],
    ],
    ids=str,
)
def test_what_is_unknown_is_said_to_be(words, capsys) -> None:
    trust = ["--trust", "a.B"]
    assert main(["plan", *words, *trust]) == 0
    said = capsys.readouterr().out
    assert "What leaves each node" in said
    assert "never: weights" in said
    assert ("unknown" in said) == any("a.B" in word for word in words)


def test_a_plan_needs_no_torch() -> None:
    code = (
        "import sys; from qsynth.cli.main import main; code = main(['plan', '--json']);"
        "print(code, 'torch' in sys.modules, 'pytorch_lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.stdout.split()[-3:] == ["0", "False", "False"], done.stderr


def test_a_plan_can_measure(capsys) -> None:
    small = ["encoder.fit_images=300", "encoder.dimensions=48", "encoder.filters=8"]
    assert main(["plan", "--measure", "--json", *small]) == 0
    made = json.loads(capsys.readouterr().out)
    rows = {row["group"]: row for row in made["measured"]}
    for group in made["groups"]:
        assert rows[group["group"]]["parameters"] == group["parameters"]
    assert all(row["step_s"] >= 0.0 for row in rows.values())


def test_a_network_of_ones_own_is_known_once_it_is_measured() -> None:
    words = [
        "model=module",
        "model.target=a.B",
        "fleet.mlp.count=0",
        "fleet.cnn.count=0",
        "fleet.linear.count=0",
        "+fleet.own.count=3",
    ]
    config = compose(words, ["a.B"]).config
    unknown = forecast(config)
    assert "--measure" in unknown["advice"]
    assert "differ" not in unknown["advice"]
    known = forecast(config, [{"group": "own", "parameters": 1000, "step_s": 0.01}])
    assert known["instead"]["fedavg_bytes"] == 2 * 20 * 4000
    assert known["memory_mib"] is not None
