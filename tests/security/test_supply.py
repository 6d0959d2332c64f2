"""What is installed: one version of each part, with hashes of its files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)")


def pinned(path: Path) -> dict[str, str]:
    """Return versions by name, as names are compared."""
    found = (NAME.match(line) for line in path.read_text().splitlines())
    return {re.sub(r"[-_.]+", "-", m[1].lower()): m[2] for m in found if m}


def test_the_requirements_are_the_versions_that_are_tested() -> None:
    required, tested = pinned(ROOT / "requirements.txt"), pinned(ROOT / "constraints.txt")
    assert len(required) > 40
    shared = {name: (required[name], tested[name]) for name in required.keys() & tested.keys()}
    assert {name: pair for name, pair in shared.items() if pair[0] != pair[1]} == {}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        re.sub(r"[-_.]+", "-", re.split(r"[<>=!\[; ]", line)[0].lower())
        for line in project["dependencies"]
    }
    assert wanted <= required.keys()


def test_every_required_version_has_hashes() -> None:
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements.txt").read_text())
    parts = [block for block in blocks if NAME.match(block)]
    assert parts
    bare = [
        part.splitlines()[0] for part in parts if not re.search(r"--hash=sha256:[0-9a-f]{64}", part)
    ]
    assert bare == []
