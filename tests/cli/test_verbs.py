"""Verbs that look: help, explain, runs, watch, completion; mistakes in a recipe are placed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qsynth.cli.explain import explained, known_settings
from qsynth.cli.help import VERBS
from qsynth.cli.main import main
from qsynth.cli.show import plain, table
from qsynth.config.groups import GROUPS
from qsynth.errors import ConfigError
from qsynth.report.follow import Followed

SMALL = [
    "encoder.fit_images=300",
    "encoder.dimensions=48",
    "encoder.filters=8",
    "baselines=[]",
    "trainer.period_steps=10",
    "trainer.max_steps=20",
    "placement=simulate",
]


def test_every_verb_tells_of_itself(capsys) -> None:
    assert main(["--help"]) == 0
    first = capsys.readouterr().out
    assert len(first.splitlines()) < 24
    for verb in VERBS:
        assert main([verb, "--help"]) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"qsynth {verb}")
        assert f" {verb}" in first


def test_every_verb_of_a_verb_tells_of_itself(capsys) -> None:
    from qsynth.cli import node, packet, recipe, task

    verbs = {"node": node, "recipe": recipe, "packet": packet, "task": task}
    for verb, module in verbs.items():
        for inner in module.VERBS:
            assert main([verb, inner, "--help"]) == 0
            assert capsys.readouterr().out.startswith(f"qsynth {verb} {inner}")


def test_every_setting_option_reason_and_code_is_explained() -> None:
    settings = known_settings()
    assert len(settings) > 150
    for key in settings:
        assert explained(key)[0].startswith(f"{key} = ")
    for group, options in GROUPS.items():
        assert len(explained(group)) == len(options)
        for name in options:
            assert explained(f"{group}={name}")
    assert "snapshot" not in explained("dht.ring_size")[0]
    assert ">= 1" in explained("dht.ring_size")[0]
    assert "signed" in explained("signature")[0]
    assert "untrusted" not in explained("3")[0]
    assert [line.split()[0] for line in explained("exit")] == ["0", "1", "2", "3", "4", "130"]
    with pytest.raises(ConfigError, match=r"did you mean dht\.ring_size"):
        explained("dht.ringsize")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script_that_bash_takes(shell, capsys) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "+recipe=digits_mesh" in script
    assert main(["completion", "fish"]) == 2
    if shell == "bash":
        asked = 'COMP_WORDS=(qsynth run mesh.lin); COMP_CWORD=2; _qsynth; echo "${COMPREPLY[@]}"'
        command = ["bash", "-c", f"{script}\n{asked}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.stdout.split() == ["mesh.linger_s="], done.stderr


def test_a_mistake_in_a_recipe_is_placed_in_its_file(tmp_path, capsys) -> None:
    path = tmp_path / "mine.yaml"
    lines = [
        "# Mine.",
        "defaults:",
        "  - override /data: digits",
        "name: mine",
        "fleet:",
        "  mlp: {count: 2, model: {name: mlp}}",
        "distill:",
        "  max_bytes: 3",
    ]
    path.write_text("\n".join(lines))
    assert main(["config", f"recipe={path}"]) == 2
    assert f"({path}:8)" in capsys.readouterr().err
    assert main(["config", f"recipe={path}", "distill.max_bytes=4"]) == 2
    assert "mine.yaml:" not in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert main(["run", *SMALL, f"folder={folder}", "--quiet"]) == 0
    (made,) = folder.iterdir()
    return made


def test_runs_are_listed_with_what_became_of_them(run, capsys) -> None:
    assert main(["watch", str(run.parent)]) == 0
    assert "ended" in capsys.readouterr().out
    (run.parent / "dead").mkdir()
    (run.parent / "dead" / "config.yaml").write_text("{}")
    assert main(["watch", str(run.parent), "--json"]) == 0
    rows = {Path(row["folder"]).name: row for row in json.loads(capsys.readouterr().out)}
    assert rows["dead"]["state"] == "not ended"
    assert rows[run.name]["own"] > 0.2
    assert main(["watch", str(run / "nodes")]) == 0
    assert "no runs in" in capsys.readouterr().out


def test_what_nodes_write_is_followed_as_they_write_it(tmp_path) -> None:
    place = tmp_path / "nodes" / "a"
    place.mkdir(parents=True)
    followed = Followed(tmp_path)
    followed.read(["a", "b"])
    assert followed.line()["nodes"] == 2
    file = place / "events.jsonl"
    file.write_text('{"event": "started", "id": "aa"}\n{"event": "period", "per')
    followed.read()
    assert followed.nodes["a"].period == 0
    with file.open("a") as more:
        more.write(
            'iod": 3, "validation_accuracy": 0.5}\nrubbish\n'
            '{"event": "synthesis", "used": ["aa", "bb"]}\n'
            '{"event": "sent", "bytes": 2048}\n{"event": "finished"}\n'
        )
    followed.read()
    state = followed.nodes["a"]
    assert (state.period, state.accuracy, state.done, state.sent_bytes) == (3, 0.5, True, 2048)
    assert "period 0-3 of 9" in plain(followed, 9, 1.0)
    made = table(followed, "t", 24)
    assert made.row_count == 2
    followed.read([f"n{i}" for i in range(50)])
    assert table(followed, "t", 24).row_count == 16
    assert table(followed, "t", 5).row_count == 4


def test_a_run_is_watched_from_another_terminal(run, tmp_path, capsys) -> None:
    """While it is under way: a copy of a run whose summary comes later."""
    live = tmp_path / "live"
    (live / "nodes" / "mlp-0").mkdir(parents=True)
    (live / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    events = (run / "nodes" / "mlp-0" / "events.jsonl").read_bytes()
    (live / "nodes" / "mlp-0" / "events.jsonl").write_bytes(events[: len(events) // 2])

    def go_on() -> None:
        time.sleep(1.5)
        (live / "nodes" / "mlp-0" / "events.jsonl").write_bytes(events)
        time.sleep(1.5)
        (live / "summary.json").write_text("{}")

    threading.Thread(target=go_on, daemon=True).start()
    assert main(["watch", str(live), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) >= 2
    assert lines[-1]["period_most"] > lines[0]["period_most"]
    assert main(["watch", str(tmp_path / "nowhere")]) == 2
    assert main(["watch", str(run)]) == 0
    assert "qsynth report" in capsys.readouterr().out


@pytest.mark.slow
def test_a_live_table_survives_a_terminal_that_changes_its_size(tmp_path) -> None:
    import fcntl
    import signal
    import struct
    import termios

    master, slave = pty.openpty()
    command = [
        sys.executable,
        "-m",
        "qsynth",
        "run",
        *SMALL[:-3],
        "trainer.max_steps=400",
        "trainer.period_steps=50",
        "fleet.mlp.count=2",
        "fleet.cnn.count=0",
        "fleet.linear.count=1",
        "placement=processes",
        f"folder={tmp_path}",
    ]
    process = subprocess.Popen(command, stderr=slave, stdout=subprocess.DEVNULL, stdin=slave)
    shown = b""

    def read() -> None:
        nonlocal shown
        while True:
            try:
                shown += os.read(master, 65536)
            except OSError:
                return

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + 200.0
    while b"period" not in shown and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.poll() is None, "it has ended before it has shown anything"
    for rows, columns in ((40, 120), (10, 40), (50, 200), (24, 80)):
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        process.send_signal(signal.SIGWINCH)
        time.sleep(0.2)
    assert process.wait(timeout=200) == 0, shown.decode(errors="replace")[-2000:]
    assert b"learns from" in shown
    assert b"Traceback" not in shown
