"""Docs say what the code does: settings, commands, links, figures of the build."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from qsynth.cli.explain import GROUPS, explained, known_settings
from qsynth.cli.help import VERBS
from qsynth.cli.options import parse
from qsynth.errors import ConfigError
from qsynth.host.log import LogOptions
from qsynth.recipe.compose import compose

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = ROOT / "docs" / "reference" / "settings.md"
COMPOSED = ("run", "plan", "compare", "config", "doctor")
# The options of a verb that are its own.
OWN = {
    "run": ("--resume", "--locked"),
    "node": (
        *("--home", "--share", "--authority", "--id", "--host", "--days", "--out"),
        *("--request", "--certificate", "--root", "--anyway"),
    ),
    "recipe": ("--name", "--out"),
    "packet": ("--home", "--share"),
    "doctor": ("--home",),
    "predict": ("--out", "--label", "--prior", "--node"),
    "export": ("--onnx", "--torch", "--node"),
    "serve": ("--host", "--port", "--node"),
    "task": ("--label", "--out", "--title"),
    "new": ("--label",),
    "watch": ("--port",),
}
FLAGS = ("--measure", "--certificate", "--help", "--web")
FILLED = {
    "FOLDER": "/data",
    "NAME": "digits_mesh",
    "DIR": "home",
    "RUN": "runs/x",
    "ID": "00" * 32,
    "PYTHON": "python",
    "FILE": "x.yaml",
    "RECIPE": "digits_mesh",
}


def reference() -> str:
    """The page of settings, from the schema."""
    lines = [
        "# Settings",
        "",
        "Made from the schema: a test compares them. `qsynth explain KEY` prints the same.",
        "",
        "## Of a run",
        "",
    ]
    settings = known_settings()
    lines += [
        f"- `{text[0].split(': ', 1)[0]}`: {text[0].split(': ', 1)[1]}"
        for key, text in settings.items()
        if key.split(".")[0] not in GROUPS
    ]
    for group in GROUPS:
        lines += ["", f"## {group}", ""]
        lines += [
            f"- `{said.split(' ')[0]}`: {said.split(' ', 1)[1].strip()}"
            for said in explained(group)
        ]
        lines.append("")
        for key, text in settings.items():
            if key.split(".")[0] == group:
                name, said = text[0].split(": ", 1)
                lines.append(f"- `{name}`: {said} ({text[1].removeprefix('of ')})")
    return "\n".join(lines) + "\n"


def test_the_page_of_settings_is_that_of_the_schema() -> None:
    if os.environ.get("QSYNTH_WRITE_DOCS"):
        SETTINGS.write_text(reference())
    assert SETTINGS.read_text() == reference(), "QSYNTH_WRITE_DOCS=1 pytest tests/test_docs.py"


def commands() -> list[tuple[str, str]]:
    found = []
    for path in PAGES:
        text = re.sub(r"\\\n\s*", "", path.read_text())
        for line in re.findall(r"^    (qsynth .*)$", text, re.M):
            found.append(
                (
                    str(path.relative_to(ROOT)),
                    line.split("#")[0].strip() if " # " in line else line.strip(),
                )
            )
        found += [
            (str(path.relative_to(ROOT)), line) for line in re.findall(r"`(qsynth [^`\n]*)`", text)
        ]
    return sorted(set(found))


def words_of(command: str) -> list[str]:
    text = re.sub(
        r"\b(FOLDER|NAME|DIR|RUN|ID|PYTHON|FILE|RECIPE)\b", lambda m: FILLED[m[0]], command
    )
    return shlex.split(text)[1:]


def test_each_command_in_the_docs_is_taken() -> None:
    """Those that `test_docs_run` runs are not looked at twice."""
    from tests.test_docs_run import runnable

    run, wrong = set(runnable()), []
    for page, command in commands():
        if command in run:
            continue
        try:
            take(page, command)
        except (AssertionError, ConfigError) as error:
            wrong.append(f"{page}: {command}: {error}")
    assert wrong == []


def take(page: str, command: str) -> None:
    """Parse a command, and compose what it composes."""
    words = words_of(command)
    if not words or "VERB" in words or any(w.isupper() for w in words) or "..." in command:
        return
    verb, rest = words[0], words[1:]
    if verb == "--help":
        return
    assert verb in VERBS, page
    if "|" in command:
        return
    if verb == "bench":
        return  # its words are taken apart by its own parser, in tests of their own
    subverbs = {"node": 1, "recipe": 1, "packet": 1, "task": 1}.get(verb, 0)
    options = parse(rest[subverbs:], OWN.get(verb, ()), FLAGS)
    composes = verb in COMPOSED or words[:2] in (["node", "up"], ["packet", "audit"])
    overrides = [o for o in options.overrides if "=" in o]
    if verb == "compare":
        overrides = [o for o in overrides if o.split("=")[0] not in ("arms", "seeds")]
    files = any(name in o for o in overrides for name in ("mine.yaml", "x.yaml", "task.yaml"))
    overrides = LogOptions.take(overrides)[1]
    if composes and not files:
        compose(overrides, options.trusted)


def test_there_are_commands_to_check() -> None:
    assert len(commands()) > 60


def test_a_wrong_command_would_be_found() -> None:
    with pytest.raises((AssertionError, ConfigError)):
        take("x", "qsynth run +recipe=nowhere")
    with pytest.raises((AssertionError, ConfigError)):
        take("x", "qsynth run distil.max_bytes=3")
    with pytest.raises((AssertionError, ConfigError)):
        take("x", "qsynth rnu")


def test_links_between_pages_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_every_page_stands_in_the_site(tmp_path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    site = tmp_path / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert (site / "index.html").exists()
    assert (site / "howto" / "what-leaves.html").exists()


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "decisions" / "index.md").read_text()
    for path in (ROOT / "docs" / "decisions").glob("0*.md"):
        assert path.name in listed


PLACE = re.compile(r"`([\w/]+\.py)`[ \n]+`([\w.]+)`")


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "contributing").glob("*.md")), ids=str)
def test_functions_that_a_page_names_exist(page) -> None:
    text = page.read_text(encoding="utf-8")
    assert not page.name.startswith("follow") or len(text.splitlines()) <= 120
    missing = []
    for path, name in PLACE.findall(text):
        tree = ast.parse((ROOT / "qsynth" / path).read_text(encoding="utf-8"))
        for part in name.split("."):
            found = [
                node
                for node in ast.iter_child_nodes(tree)
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == part
            ]
            if not found:
                missing.append(f"{path} {name}")
                break
            tree = found[0]
    assert missing == []
