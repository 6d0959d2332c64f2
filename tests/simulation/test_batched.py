"""A simulated mesh whose networks train in one computation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from qsynth.cli.main import main
from qsynth.simulation.batched import learners_of, one_by_one
from qsynth.simulation.simulate import simulate
from tests.placement.test_placement import digests, plan, weights
from tests.placement.test_resume import DRIFTING

BATCHED = "placement.learner=batched"


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], DRIFTING], ids=["plain", "drift"])
def test_packets_are_those_of_trainers_and_weights_are_near(tmp_path: Path, more) -> None:
    words = ["trainer.max_steps=35", "synthesis.teach.weight=2", *more]
    simulate(plan(tmp_path / "single", *words))
    simulate(plan(tmp_path / "batched", *words, BATCHED))
    assert digests(tmp_path / "single") == digests(tmp_path / "batched")
    one, two = weights(tmp_path / "single"), weights(tmp_path / "batched")
    assert one.keys() == two.keys()
    for path in tmp_path.glob("batched/nodes/*/predictor.pt"):
        other = tmp_path / "single" / path.relative_to(tmp_path / "batched")
        assert path.stat().st_size < 1.1 * other.stat().st_size, "of all nodes"
    for key, value in one.items():
        # Pooled maxima of digits' empty corners are ties that rounding may break.
        if not key.startswith("cnn") and "temperature" not in key:
            torch.testing.assert_close(two[key].double(), value.double(), atol=1e-4, rtol=1e-3)


def test_who_cannot_trains_one_by_one_and_it_is_said(tmp_path: Path) -> None:
    words = ["+fleet.mlp.model.dropout=0.1", "+fleet.cnn.model.augment=shift"]
    made = plan(tmp_path / "mixed", *words, "trainer.max_steps=20", BATCHED)
    reasons = {node.name.split("-")[0]: one_by_one(made, node) for node in made.nodes}
    assert reasons == {"mlp": "model.dropout", "cnn": "model.augment", "linear": None}
    assert (
        len(learners_of(made, made.nodes))
        == sum(n.name.startswith("linear") for n in made.nodes)
        > 0
    )
    assert sum("train one by one" in note for note in made.notes) == 2
    simulate(made)
    results = [json.loads(p.read_text()) for p in tmp_path.glob("mixed/nodes/*/result.json")]
    assert [r["status"] for r in results] == ["finished"] * 8
    single = plan(tmp_path / "single")
    assert learners_of(single, single.nodes) == {}
    words = ["synthesis.network=boost", "synthesis.teach.weight=0", BATCHED]
    boosted = plan(tmp_path / "boosted", *words)
    assert {one_by_one(boosted, node) for node in boosted.nodes} == {"synthesis.network=boost"}


def test_the_benchmark_says_how_much_faster_and_how_near(capsys) -> None:
    words = ["bench", "learner", "--nodes", "6", "--steps", "12", "--samples", "30", "--json"]
    assert main(words) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["nodes"] == 6
    assert made["speedup"] == pytest.approx(made["single_s"] / made["batched_s"], rel=0.05)
    assert made["speedup_loop"] == pytest.approx(made["loop_s"] / made["batched_s"], rel=0.05)
    assert made["max_abs_diff"] < 1e-4
    assert main(["bench", "learner", "--model", "mpl"]) == 2
    assert main(["bench", "learner", "--nodes", "100000"]) == 2
    assert main(["bench", "learner", "--nodes", "4000", "--samples", "1000"]) == 2
    assert "did you mean mlp" in capsys.readouterr().err
