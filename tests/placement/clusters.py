"""What tests of clusters share: a run under way, and what its nodes have told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FLEET = [
    "+recipe=digits_mesh",
    "fleet.mlp.count=3",
    "fleet.cnn.count=3",
    "fleet.linear.count=2",
    "mesh=tcp",
    "trainer.checkpoint_s=1",
    "trainer.curve_points=0",
    "baselines=[]",
]


def started(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Begin a run of eight nodes; its folder is below `folder`."""
    return qsynth("run", *FLEET, f"folder={folder}", *words, "--json", **environment)


def resumed(run: Path, **environment: str) -> subprocess.Popen[str]:
    """Go on with a run, as another runner."""
    return qsynth("run", "--resume", str(run), "--json", **environment)


def qsynth(*words: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command."""
    command = [sys.executable, "-m", "qsynth", *words]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def summary_of(run: subprocess.Popen[str], seconds: float = 280.0) -> dict[str, Any]:
    """Wait for a run's end; return its summary."""
    out, err = run.communicate(timeout=seconds)
    assert run.returncode == 0, err
    summary: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return summary


def told(folder: Path, event: str) -> dict[str, list[dict[str, Any]]]:
    """Return the events of a kind by node, of the one run below a folder."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in folder.glob("*/nodes/*/events.jsonl"):
        lines = path.read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if f'"{event}"' in line]
        found[path.parent.name] = [r for r in records if r["event"] == event]
    return found


def came_back(folder: Path, nodes: list[str]) -> None:
    """Check that these nodes have started twice as the same, and gone on where they were."""
    starts, periods = told(folder, "started"), told(folder, "period")
    for name in nodes:
        assert len(starts[name]) == 2, name
        assert len({start["id"] for start in starts[name]}) == 1, name
        again = starts[name][1]["time"]
        before = [p["period"] for p in periods[name] if p["time"] < again]
        after = [p["period"] for p in periods[name] if p["time"] >= again]
        # A checkpoint a second: a few periods at most are done again, never all of them.
        assert after, name
        assert 0 < min(after) <= max(before) + 1, name
    others = set(starts) - set(nodes)
    assert others
    assert all(len(starts[name]) == 1 for name in others)


def in_the_mesh(folder: Path, nodes: list[str]) -> None:
    """Check that these nodes, once back, have found others and use what those have sent.

    Contacts and packets are in a node's journal: it need neither join nor fetch again.
    """
    starts, lookups, mixed = (told(folder, event) for event in ("started", "lookup", "synthesis"))
    for name in nodes:
        again = starts[name][-1]["time"]
        assert any(r["found"] for r in lookups[name] if r["time"] > again), name
        assert any(r["used"] for r in mixed[name] if r["time"] > again), name


def parent_of(pid: int) -> int:
    """Return a process's parent."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return int(stat.rpartition(") ")[2].split()[1])


def supervisor(folder: Path, node: str) -> int:
    """Return the process that has started the `qsynth part` whose first node this is.

    Of a run below this folder: other runs on this machine may have nodes of the same names.
    """
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
            parent = parent_of(int(path.parent.name))
            above = Path(f"/proc/{parent}/cmdline").read_text().split("\0")
        except OSError:
            continue  # it has ended meanwhile
        at = words.index("part") if "part" in words else len(words)
        mine = words[at + 1 : at + 2] and folder in Path(words[at + 1]).parents
        if mine and words[at + 2 : at + 3] == [node] and "part" not in above:
            return parent
    raise LookupError(f"no process holds {node} of a run below {folder}")
