"""The house holds: layers, lazy spots, sizes of modules and functions, help without imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "qsynth"
MODULES = sorted(PACKAGE.rglob("*.py"))
# architecture.md, section 1: a package's layer, and what it may import beside lower layers.
LAYER = {
    "errors": 0, "schema": 0, "types": 0,
    "identity": 1, "packet": 1, "kernels": 1,
    "encoder": 2, "similarity": 2, "dht": 2,
    "mesh": 3, "model": 3, "data": 3, "partition": 3, "distill": 3, "synthesis": 3, "trust": 3,
    "peers": 3, "node": 4, "attack": 5, "placement": 5, "baseline": 5, "run": 6, "bench": 6,
    "config": 7, "recipe": 7, "cli": 8,
}  # fmt: skip
SIDEWAYS = {
    ("schema", "errors"),
    ("packet", "identity"),
    ("recipe", "config"),
    ("baseline", "placement"),
    ("placement", "attack"),
    ("bench", "run"),
}
LAZY = {"qsynth/__init__.py", "qsynth/cli/main.py", "qsynth/cli/run.py", "qsynth/cli/report.py",
        "qsynth/cli/compare.py", "qsynth/cli/node.py", "qsynth/cli/packet.py",
        "qsynth/cli/bench.py", "qsynth/cli/show.py", "qsynth/cli/doctor.py",
        "qsynth/cli/plan.py", "qsynth/cli/recipe.py", "qsynth/cli/watch.py",
        "qsynth/cli/part.py"} | {
    f"qsynth/{name}/__init__.py"
    for name in ("model", "data", "encoder", "distill", "synthesis", "node", "placement")
}  # fmt: skip


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "qsynth":
                yield from (f"qsynth.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_go_down_the_layers(path: Path) -> None:
    package = package_of(path)
    if package in ("__init__", "__main__"):
        return
    for imported in imports(ast.parse(path.read_text())):
        parts = imported.split(".")
        if parts[0] != "qsynth" or len(parts) < 2 or parts[1] in (package, "__version__"):
            continue
        # A config.py is standard library only: the schema gathers them all.
        gathers = package in ("config", "recipe") and parts[-1] == "config"
        allowed = LAYER[parts[1]] < LAYER[package] or (package, parts[1]) in SIDEWAYS or gathers
        assert allowed, f"{name(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_import_inside_a_function_outside_the_lazy_spots(path: Path) -> None:
    if name(path) in LAZY:
        return
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef):
            inside = [n for n in ast.walk(function) if isinstance(n, (ast.Import, ast.ImportFrom))]
            assert not inside, f"{name(path)}: {function.name}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_modules_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for function in ast.walk(ast.parse(text)):
        if isinstance(function, ast.FunctionDef):
            assert function.end_lineno is not None
            assert function.end_lineno - function.lineno < 60, function.name


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("config.py")), ids=name)
def test_a_config_module_needs_the_standard_library_only(path: Path) -> None:
    for imported in imports(ast.parse(path.read_text())):
        top = imported.split(".")[0]
        assert top in ("qsynth", "__future__") or top in sys.stdlib_module_names
        if top == "qsynth":
            assert imported.endswith(".config") or imported in ("qsynth.schema", "qsynth.errors")


def test_no_import_cycle_between_packages() -> None:
    edges = {(package_of(p), i.split(".")[1])
             for p in MODULES for i in imports(ast.parse(p.read_text()))
             if i.startswith("qsynth.") and not i.endswith(".config")}  # fmt: skip
    edges = {(a, b) for a, b in edges if a != b and a in LAYER and b in LAYER}
    assert not {(a, b) for a, b in edges if (b, a) in edges}


@pytest.mark.parametrize("words", [["--help"], ["recipe", "list"], ["run", "--help"], []])
def test_help_and_lists_import_the_standard_library_only(words: list[str]) -> None:
    code = (
        "import sys; before = set(sys.modules); from qsynth.cli.main import main;"
        f"main({words!r}); new = {{m.split('.')[0] for m in set(sys.modules) - before}};"
        "print(sorted(new - set(sys.stdlib_module_names) - {'qsynth'}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.strip() == "[]", done.stderr
    assert done.returncode == 0
    assert done.stdout
