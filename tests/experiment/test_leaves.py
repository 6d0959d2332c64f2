"""What leaves a node is what its owner has turned on; advice takes out what costs most."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qsynth.cli.main import main
from qsynth.distill.analytic import Analytic
from qsynth.errors import ConfigError
from qsynth.recipe.compose import compose

SMALL = ["encoder.fit_images=300", "encoder.dimensions=32", "encoder.filters=8"]


@pytest.mark.parametrize(
    ("words", "rank"),
    [
        ([], 8),  # the recipe's own digits
        (["data=fmnist"], None),
        (["data=arrays", "data.path=mine.npz"], None),
        (["+recipe=digits_skew", "data=arrays", "data.path=mine.npz"], None),
        (["data=arrays", "data.path=mine.npz", "distill.input_rank=4"], 4),
        (["data=arrays", "data.path=mine.npz", "synthesis.teach.inputs=generated"], 8),
        (["synthesis.teach.inputs=none"], None),
        (["synthesis.teach.inputs=own_mix"], None),
        (["synthesis.teach.inputs=own_mix", "distill.input_rank=8"], None),
        (["synthesis.teach.inputs=own_mix", "distill.input_rank=0"], 0),
    ],
)
def test_statistics_of_raw_inputs_leave_where_the_user_wants_them(words, rank, capsys) -> None:
    config = compose(words).config
    assert config.distill.input_rank == rank
    if "data.path=mine.npz" in words:
        return
    assert main(["plan", *words, *(["data.root=/nowhere"] if "data=fmnist" in words else [])]) == 0
    assert ("raw inputs" in capsys.readouterr().out) == bool(rank)


def test_no_array_of_inputs_is_in_the_packet(capsys) -> None:
    for words, there in (([], True), (["synthesis.teach.inputs=none"], False)):
        assert main(["packet", "show", *SMALL, *words, "--json"]) == 0
        arrays = json.loads(capsys.readouterr().out)["arrays"]
        assert any(name.startswith("input_") for name in arrays) == there


def test_an_input_rank_of_nothing_is_none() -> None:
    for rank in (None, 0):
        other = Analytic(input_rank=rank)
        assert other.packet_size(20, 4, 784) == Analytic().packet_size(20, 4, 784)
    with pytest.raises(ConfigError, match=r"or synthesis\.teach\.inputs=own_mix"):
        compose(["distill.input_rank=0"])


@pytest.mark.parametrize(
    ("config", "d", "classes", "inputs", "said"),
    [
        (Analytic(input_rank=8), 30, 10, 784, "synthesis.teach.inputs=own_mix (no statistics"),
        (Analytic(d=256, rank=64), 256, 10, 64, "distill.d=100 would fit"),
        (Analytic(d=256, rank=64, input_rank=1), 256, 10, 4, "distill.d=97 would fit"),
        (
            Analytic(d=250, rank=64, input_rank=8),
            250,
            20,
            784,
            "synthesis.teach.inputs=own_mix distill.d=",
        ),
        (Analytic(d=4, rank=0), 4, 40_000, 64, "no setting makes so many classes fit"),
    ],
)
def test_advice_takes_out_what_costs_most_first(config, d, classes, inputs, said) -> None:
    with pytest.raises(ConfigError) as caught:
        config.check_size(d, classes, inputs)
    assert said in str(caught.value)


def test_an_audit_works_where_leakage_is_worst(tmp_path, rng, capsys) -> None:
    y = np.arange(240) % 3
    x = (rng.standard_normal((240, 6)) + np.eye(3, 6)[y]).astype(np.float32)
    np.savez(tmp_path / "few.npz", x=x, y=y, node=np.arange(240) % 4)
    words = [
        "data=arrays",
        f"data.path={tmp_path}/few.npz",
        "partition=natural",
        "encoder=seeded_fourier",
        "encoder.dimensions=16",
        "encoder.fit_inputs=300",
        "fleet.mlp.count=4",
        "fleet.cnn.count=0",
        "fleet.linear.count=0",
    ]
    assert main(["packet", "audit", *words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    low, high = made["membership_auc_interval"]
    assert low < made["membership_auc"] < high
    assert high - low > 0.05  # sixty samples tell no more
    assert made["candidates"] + made["references"] == 60
    assert main(["packet", "audit", *words]) == 0
    assert f"({low:.2f} to {high:.2f})" in capsys.readouterr().out
    assert main(["packet", "audit", *words, "data.test_share=.2"]) == 2
    assert "48 samples are left for the attacker, needs 60" in capsys.readouterr().err
