"""Eight nodes in four actors of a real Ray cluster here: one of two raylets is killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.placement.clusters import came_back, parent_of, started, summary_of, supervisor, told
from tests.placement.test_placement import wait_for

if shutil.which("ray", path=str(Path(sys.executable).parent)) is None:
    pytest.skip("needs the extra ray", allow_module_level=True)

RAY = str(Path(sys.executable).with_name("ray"))
TOKEN = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "a-token-of-the-tests-" + "0" * 24,
    "RAY_USAGE_STATS_ENABLED": "0",
}
FIRSTS = ("mlp-0", "mlp-2", "cnn-1", "linear-0")  # of each task
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Raylet:
    """One raylet, in the foreground, in a session of its own."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.log = (folder / f"{len(list(folder.iterdir()))}.log").open("wb")
        self.process = subprocess.Popen(
            [RAY, "start", "--block", "--num-cpus=4", "--disable-usage-stats", *words],
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
            env={**os.environ, **TOKEN},
        )

    def pid(self) -> int | None:
        """The raylet itself, once it runs."""
        for path in Path("/proc").glob("[0-9]*/comm"):
            try:
                named = path.read_text().strip() == "raylet"
            except OSError:
                continue
            if named and parent_of(int(path.parent.name)) == self.process.pid:
                return int(path.parent.name)
        return None

    def started(self) -> bool:
        """Whether it has joined its cluster."""
        return "Ray runtime started" in Path(self.log.name).read_text()

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()


@pytest.fixture(scope="module")
def cluster():
    """An address, and the raylet that is not the head."""
    folder, port = Path(tempfile.mkdtemp(prefix="qr-")), free_port()
    head = Raylet(
        folder,
        "--head",
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        "--include-dashboard=false",
        f"--temp-dir={folder}/ray",
    )
    raylets = [head]
    try:
        wait_for(head.started)
        raylets.append(Raylet(folder, f"--address=127.0.0.1:{port}"))
        wait_for(raylets[1].started)
        yield f"127.0.0.1:{port}", raylets[1]
    finally:
        for raylet in reversed(raylets):
            raylet.stop()
        shutil.rmtree(folder, ignore_errors=True)


def placed_by(folder: Path, raylet: int) -> list[str]:
    """The first nodes of the tasks whose actors a raylet has."""
    return [first for first in FIRSTS if parent_of(supervisor(folder, first)) == raylet]


def test_nodes_of_a_killed_raylet_come_back_elsewhere(cluster, tmp_path) -> None:
    address, other = cluster
    words = ["placement=ray", f"placement.address={address}", "placement.nodes_per_task=2"]
    run = started(tmp_path, *words, "trainer.max_steps=2200", **TOKEN)
    try:
        wait_for(lambda: len(told(tmp_path, "joined")) == 8)
        wait_for(lambda: all(p and p[-1]["period"] > 1 for p in told(tmp_path, "period").values()))
        raylet = other.pid()
        firsts = placed_by(tmp_path, raylet)
        names = list(told(tmp_path, "started"))
        assert 0 < len(firsts) < 4
        os.kill(raylet, signal.SIGKILL)
        summary = summary_of(run)
    finally:
        run.kill()
        run.communicate(timeout=60)
    assert summary["failures"] == []
    assert summary["placement"] == "ray"
    order = sorted(names, key=lambda name: (("mlp", "cnn", "linear").index(name[:-2]), name))
    tasks = [order[at : at + 2] for at in range(0, 8, 2)]
    came_back(tmp_path, [name for task in tasks if task[0] in firsts for name in task])
    wait_for(lambda: not leftovers(tmp_path), 30.0)


def leftovers(folder: Path) -> list[str]:
    """Command lines of processes that hold nodes of a run below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue
        found += [" ".join(words)] if "part" in words and str(folder) in " ".join(words) else []
    return found


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, 2, "use RAY_AUTH_MODE=token"),
        ({**TOKEN, "RAY_AUTH_TOKEN": "another-token-" + "1" * 30}, 4, "placement.address="),
    ],
)
def test_without_the_token_nothing_is_placed(cluster, tmp_path, environment, code, said) -> None:
    address, _ = cluster
    words = ["placement=ray", f"placement.address={address}", "trainer.max_steps=100"]
    run = started(tmp_path, *words, **environment)
    _, err = run.communicate(timeout=120)
    assert run.returncode == code, err
    assert said in err
    assert "Traceback" not in err
    assert not leftovers(tmp_path)
