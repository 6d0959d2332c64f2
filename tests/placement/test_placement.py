"""Nodes where they run: simulated twice the same, as processes through kills."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from qsynth.experiment.build import build
from qsynth.host.plan_node import make_pipeline
from qsynth.pipeline.participant import Lonely, Participant
from qsynth.recipe.compose import compose
from qsynth.simulation.simulate import simulate
from qsynth.training.fit import fit, quietly
from qsynth.training.plan import RunPlan
from tests.commands import Command, answered

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "trainer.period_steps=10",
    "baselines=[]",
    "placement=simulate",
]


# Four nodes of two architectures that train long enough to be killed, and exchange now and then.
FEW = ["fleet.mlp.count=2", "fleet.cnn.count=0", "fleet.linear.count=2"]
LONG = ["trainer.period_steps=50", "trainer.max_steps=1500"]


def plan(folder: Path, *overrides: str) -> RunPlan:
    made = build(compose(["+recipe=digits_mesh", *SMALL, *overrides]).config, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return made


def digests(run: Path) -> list[tuple[str, str]]:
    found = []
    for path in sorted((run / "nodes").glob("*/events.jsonl")):
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "publish":
                found.append((event["node"], event["digest"]))
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted((run / "nodes").glob("*/predictor.pt")):
        for key, value in torch.load(path, weights_only=True)["state"].items():
            found[f"{path.parent.name}.{key}"] = value
    return found


@pytest.mark.slow
def test_the_same_seed_gives_the_same_packets_and_weights(tmp_path) -> None:
    short = ["trainer.max_steps=30", "fleet.mlp.count=2", "fleet.linear.count=1"]
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate(plan(tmp_path / name, *short, f"seed={seed}"))
    assert digests(tmp_path / "a") == digests(tmp_path / "b") != digests(tmp_path / "c")
    one, two, other = weights(tmp_path / "a"), weights(tmp_path / "b"), weights(tmp_path / "c")
    assert len({node for node, _ in digests(tmp_path / "a")}) == 6
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_without_a_peer_above_the_floor_a_node_is_bit_for_bit_what_it_is_alone(tmp_path) -> None:
    made = plan(tmp_path / "run", "trainer.max_steps=30", "peers.min_similarity=2.0")
    simulate(made)
    mesh = weights(tmp_path / "run")
    for node in made.nodes[:4]:
        participant = Participant(make_pipeline(made, node), Lonely())
        network = quietly(lambda n=node, p=participant: fit(made, n, p.exchange))
        alone = participant.predictor(network).state_dict()
        for key, value in alone.items():
            if not key.startswith("encoder."):
                assert torch.equal(mesh[f"{node.name}.{key}"], value), key


def test_nodes_learn_from_each_other_in_simulation(tmp_path) -> None:
    simulate(plan(tmp_path / "run", "trainer.max_steps=60"))
    results = [json.loads(p.read_text()) for p in (tmp_path / "run").glob("nodes/*/result.json")]
    assert len(results) == 8
    assert sum(r["admitted"] for r in results) > 8
    assert all(r["rejected"] == {} for r in results)
    assert any(r["used"] for r in results)


def start(folder: Path, *overrides: str) -> Command:
    words = [
        "+recipe=digits_mesh",
        "baselines=[]",
        f"folder={folder}",
        "mesh.rpc_timeout_s=0.5",
        "mesh.linger_s=20",
        *SMALL[:3],
        "trainer.curve_points=1",
        *overrides,
    ]
    return Command("run", *words, "--json")


def wait_for(condition, seconds: float = 300.0):
    """Poll until the condition gives something; the bound is generous, never the measure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


def training(folder: Path, count: int | None = None) -> dict[str, int] | None:
    """Process ids by node of those that have gone through a period; once all have, of a count."""
    pids = {}
    for path in folder.glob("*/nodes/*/pid.json"):
        events = path.parent / "events.jsonl"
        if events.exists() and '"period": 1' in events.read_text():
            pids[path.parent.name] = json.loads(path.read_text())["pid"]
    return pids if count in (None, len(pids)) else None


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_processes_learn_from_each_other(tmp_path, transport) -> None:
    run = start(tmp_path, "trainer.max_steps=60", f"mesh={transport}")
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    summary = json.loads(out.strip().splitlines()[-1])
    assert summary["failures"] == []
    assert summary["transport"] == transport
    assert summary["packets"]["rejected"] == {}
    assert summary["pairs"]["realised"] > 0
    assert summary["memory"]["node_mib_mean"] < 100
    assert "no node" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [(), ("placement.nodes_per_process=4", "placement.learner=batched")]
)
def test_who_has_trained_before_others_have_published_still_learns_from_them(
    tmp_path, words
) -> None:
    run = start(tmp_path, "trainer.max_steps=10", *words)
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    assert json.loads(out.strip().splitlines()[-1])["failures"] == []
    (folder,) = tmp_path.iterdir()
    learned = 0
    for node in (folder / "nodes").iterdir():
        result = json.loads((node / "result.json").read_text())
        events = [json.loads(line) for line in (node / "events.jsonl").read_text().splitlines()]
        held = [event["held"] for event in events if event["event"] == "synthesis"]
        assert held[-1] >= len(result["authors"]), "its predictor knows all that it holds"
        learned += bool(result["used"])
    assert learned > 0


@pytest.mark.slow
def test_a_killed_node_is_named_and_the_others_go_on(tmp_path) -> None:
    victim = "linear-1"
    run = start(tmp_path, *LONG, *FEW)
    # As soon as it trains: where others begin late, it would have ended by the time that all do.
    os.kill(wait_for(lambda: training(tmp_path).get(victim)), signal.SIGKILL)
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    summary = json.loads(out.strip().splitlines()[-1])
    assert [failure["node"] for failure in summary["failures"]] == [victim]
    (folder,) = tmp_path.iterdir()
    finished = {p.parent.name for p in folder.glob("nodes/*/result.json")}
    assert len(finished) == 3
    assert victim not in finished


@pytest.mark.slow
def test_nodes_outlive_the_runner_and_the_report_is_made_from_the_folder(tmp_path) -> None:
    run = start(tmp_path, *LONG, *FEW)
    wait_for(lambda: training(tmp_path, 4))
    run.kill()
    run.communicate(timeout=240)
    (folder,) = tmp_path.iterdir()
    assert not (folder / "summary.json").exists()
    wait_for(lambda: len(list(folder.glob("nodes/*/result.json"))) == 4)
    # The nodes linger until all have finished: their last word is the end of their processes.
    pids = [json.loads(p.read_text())["pid"] for p in folder.glob("nodes/*/pid.json")]
    wait_for(lambda: not any(Path(f"/proc/{pid}/task").exists() and alive(pid) for pid in pids))
    done = answered("report", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.strip().splitlines()[-1])
    assert summary["failures"] == []
    assert summary["accuracy"]["own"]["mean"] > 0.5
    assert json.loads((folder / "summary.json").read_text())["seed"] == 0


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
