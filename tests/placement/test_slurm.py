"""Eight nodes in tasks of a real Slurm on this machine: killed, requeued, resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from qsynth.cli.main import main
from tests.placement.clusters import (
    FLEET,
    came_back,
    in_the_mesh,
    resumed,
    started,
    summary_of,
    supervisor,
    told,
)
from tests.placement.test_placement import wait_for

pytest.importorskip("submitit", reason="needs the extra slurm")
if shutil.which("slurmctld") is None:
    pytest.skip("needs Slurm: tests/benchmarks/slurm.sh install", allow_module_level=True)

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "slurm.sh"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    begun = subprocess.run([SCRIPT, "start", folder], capture_output=True, text=True, timeout=120)
    try:
        assert begun.returncode == 0, begun.stderr
        name, _, value = begun.stdout.strip().splitlines()[-1].partition("=")
        before = os.environ.get(name)
        os.environ[name] = value
        yield folder
        subprocess.run(["scancel", "--user=root"], timeout=60, check=False)
        os.environ.pop(name) if before is None else os.environ.update({name: before})
    finally:
        subprocess.run([SCRIPT, "stop", folder], timeout=60, check=True)


def tasks(folder: Path) -> list[dict]:
    """The jobs of the one run below a folder, and their nodes."""
    found = list(folder.glob("*/placement.json"))
    return json.loads(found[0].read_text())["tasks"] if found else []


def all_at(folder: Path, period: int) -> bool:
    """Whether all eight nodes have gone through a period."""
    reached = told(folder, "period")
    return len(reached) == 8 and all(p and p[-1]["period"] >= period for p in reached.values())


def test_a_killed_task_is_requeued_and_its_nodes_go_on(slurm, tmp_path) -> None:
    # Slurm takes its time to bring a task back: the others must not have ended until then, and
    # wait for it when they have trained.
    steps = "trainer.max_steps=2000"
    words = ["placement=slurm", "placement.nodes_per_task=2", "mesh.linger_s=120"]
    run = started(tmp_path / "slurm", steps, *words)
    try:
        wait_for(lambda: all_at(tmp_path / "slurm", 2))
        victim = tasks(tmp_path / "slurm")[2]
        os.kill(supervisor(tmp_path / "slurm", victim["nodes"][0]), signal.SIGKILL)
        summary = summary_of(run)
    finally:
        run.kill()
        run.communicate(timeout=60)
    assert summary["failures"] == []
    assert summary["placement"] == "slurm"
    came_back(tmp_path / "slurm", victim["nodes"])
    (watched,) = (tmp_path / "slurm").glob("*/slurm/watched.log")
    assert summary["pairs"]["realised"] > 28  # half of all
    assert watched.read_text().count("requeued") == 1
    in_the_mesh(tmp_path / "slurm", victim["nodes"])
    results = [
        json.loads(p.read_text()) for p in (tmp_path / "slurm").glob("*/nodes/*/result.json")
    ]
    assert all(r["authors"] for r in results if r["name"] in victim["nodes"])
    assert all(r["lingered"] for r in results)
    # The same seed, as processes of this machine, without a kill: within a point.
    plain = summary_of(started(tmp_path / "plain", "placement=processes", steps))
    own = [made["accuracy"]["own"]["mean"] for made in (summary, plain)]
    assert abs(own[0] - own[1]) < 0.01


def test_a_dead_runner_stops_nothing_and_another_takes_over(slurm, tmp_path) -> None:
    words = [
        "placement=slurm",
        "trainer.max_steps=2000",
        "placement.nodes_per_process=2",
        "placement.learner=batched",
    ]
    run = started(tmp_path, *words)
    wait_for(lambda: all_at(tmp_path, 1))
    run.send_signal(signal.SIGKILL)
    run.communicate(timeout=60)
    (folder,) = tmp_path.iterdir()
    jobs = [task["name"] for task in tasks(tmp_path)]
    # One process of a part, with two nodes: the part itself brings it back.
    kept = [folder / "nodes" / name / "batched.ckpt" for name in ("mlp-0", "mlp-1")]
    wait_for(lambda: all(path.exists() for path in kept))
    killed = json.loads((folder / "nodes" / "mlp-0" / "pid.json").read_text())["pid"]
    os.kill(killed, signal.SIGKILL)
    before = max(p[-1]["period"] for p in told(tmp_path, "period").values())
    wait_for(lambda: max(p[-1]["period"] for p in told(tmp_path, "period").values()) > before)
    summary = summary_of(resumed(folder))
    assert summary["failures"] == []
    assert [task["name"] for task in tasks(tmp_path)] == jobs
    came_back(tmp_path, ["mlp-0", "mlp-1"])


def test_without_sbatch_nothing_is_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert main(["run", *FLEET, "placement=slurm", f"folder={tmp_path}"]) == 2
    assert "use placement=processes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
