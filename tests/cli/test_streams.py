"""Standard streams that are closed or full, folders that are files, sockets without room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qsynth.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
CALL = f"{sys.executable} -m qsynth"
RUN = [
    "run",
    "encoder.fit_images=300",
    "encoder.dimensions=32",
    "encoder.filters=4",
    "trainer.max_steps=4",
    "trainer.period_steps=2",
    "placement=simulate",
    "baselines=[]",
    "fleet.mlp.count=1",
    "fleet.cnn.count=0",
    "fleet.linear.count=1",
]


def shell(command: str, tmp_path: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | more,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_no_reason_to_end(closed, tmp_path) -> None:
    done = shell(f"{CALL} config seed=3 {closed}", tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert ("seed: 3" in done.stdout) == (">&-" not in closed.replace("2>&-", ""))


@pytest.mark.slow
def test_a_run_with_closed_streams_is_run(tmp_path) -> None:
    done = shell(f"{CALL} {' '.join(RUN)} folder=out >&- 2>&- <&-", tmp_path)
    assert done.returncode == 0
    (made,) = (tmp_path / "out").iterdir()
    assert json.loads((made / "summary.json").read_text())["accuracy"]


@pytest.mark.parametrize("verb", ["config", "--help", "recipe list", "explain seed"])
def test_a_stream_without_room_is_one_line(verb, tmp_path) -> None:
    done = shell(f"{CALL} {verb} >/dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "qsynth: No space left on device\n"


def test_sockets_that_have_no_room_are_told_before_anything_starts(tmp_path, monkeypatch) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    words = " ".join(word for word in RUN if "placement" not in word)
    done = shell(f"{CALL} {words} folder=out", tmp_path, TMPDIR=str(deep))
    assert done.returncode == 4
    assert "ipc paths have at most 107" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_told_before_anything_is_computed(tmp_path, capsys) -> None:
    (tmp_path / "file").touch()
    for verb, word in (("run", "baselines=[]"), ("compare", "arms=[local]")):
        assert main([verb, word, f"folder={tmp_path}/file"]) == 2
        assert "is a file; give a folder" in capsys.readouterr().err


def test_what_makes_a_packet_too_large_is_told_before_torch(tmp_path) -> None:
    code = (
        "import sys; from qsynth.cli.main import main;"
        "code = main(['run', 'distill.input_rank=200', 'distill.max_bytes=2048']);"
        "sys.exit(9 if 'torch' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "synthesis.teach.inputs=own_mix (no statistics of inputs) would fit" in done.stderr
