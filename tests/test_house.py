"""The house holds: layers, lazy spots, sizes of modules and functions, help without imports."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "qsynth"
MODULES = sorted(PACKAGE.rglob("*.py"))
# architecture.md, section 1: a package's layer, and what it may import beside lower layers.
LAYER = {
    name: layer
    for layer, names in enumerate(
        (
            "errors files lazy process_memory registry schema types",
            "identity kernels packet",
            "dht encoder similarity",
            "data distill growth mesh model partition peers synthesis",
            "privacy trust",
            "pipeline",
            "protocol",
            "records sums",
            "attack cohort",
            "training",
            "host",
            "rivals simulation",
            "placement",
            "config evaluation",
            "inference report",
            "experiment",
            "bench",
            "recipe",
            "cli",
        )
    )
    for name in names.split()
}
SIDEWAYS = {
    ("schema", "errors"),
    ("types", "errors"),
    ("registry", "errors"),
    ("packet", "identity"),
    ("synthesis", "distill"),
}
# Where an import may stand inside a function: help and config never load torch.
LAZY = {
    "qsynth/__init__.py",
    "qsynth/placement/__init__.py",
    *(
        f"qsynth/cli/{verb}.py"
        for verb in "bench compare doctor export main new node own_data packet part plan predict privacy recipe report run serve show task watch".split()  # noqa: E501, SIM905
    ),
}


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


def imported_by(path: Path) -> Iterator[str]:
    """What a module may not import: of a higher layer, or beside it."""
    package = package_of(path)
    if package in ("__init__", "__main__"):
        return
    for imported in imports(ast.parse(path.read_text())):
        parts = imported.split(".")
        if parts[0] != "qsynth" or len(parts) < 2 or parts[1] in (package, "__version__"):
            continue
        # A config.py is standard library only: the schema gathers them all.
        gathers = package in ("config", "recipe") and parts[-1] in ("config", "options")
        allowed = LAYER[parts[1]] < LAYER[package] or (package, parts[1]) in SIDEWAYS or gathers
        if not allowed:
            yield f"{name(path)} imports {imported}"


def test_imports_go_down_the_layers() -> None:
    assert [found for path in MODULES for found in imported_by(path)] == []


def test_no_import_inside_a_function_outside_the_lazy_spots() -> None:
    found = [
        f"{name(path)}: {function.name}"
        for path in MODULES
        if name(path) not in LAZY
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        and any(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.walk(function))
    ]
    assert found == []


def test_modules_and_functions_stay_small() -> None:
    long = []
    for path in MODULES:
        text = path.read_text()
        if len(text.splitlines()) > 400:
            long.append(f"{name(path)}: {len(text.splitlines())} lines")
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, ast.FunctionDef):
                lines = (function.end_lineno or 0) - function.lineno + 1
                if lines > 60:
                    long.append(f"{name(path)}: {function.name} has {lines} lines")
    assert long == []


def test_a_config_module_needs_the_standard_library_only() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("config.py")):
        for imported in imports(ast.parse(path.read_text())):
            top = imported.split(".")[0]
            own = imported.endswith(".config") or imported in (
                "qsynth.schema",
                "qsynth.errors",
                "qsynth.lazy",
                "qsynth.registry",
            )
            if not (own if top == "qsynth" else top in ("__future__", *sys.stdlib_module_names)):
                wrong.append(f"{name(path)} imports {imported}")
    assert wrong == []


def test_a_rule_that_is_broken_is_found(tmp_path) -> None:
    module = PACKAGE / "kernels" / "bits.py"

    class Broken(type(module)):  # type: ignore[misc]
        def read_text(self) -> str:  # type: ignore[override]
            return "from qsynth.protocol.node import Node\n"

    assert list(imported_by(Broken(module))) == [
        "qsynth/kernels/bits.py imports qsynth.protocol.node"
    ]


def test_no_import_cycle_between_packages() -> None:
    edges = {
        (package_of(p), i.split(".")[1])
        for p in MODULES
        for i in imports(ast.parse(p.read_text()))
        if i.startswith("qsynth.") and not i.endswith(".config")
    }
    edges = {(a, b) for a, b in edges if a != b and a in LAYER and b in LAYER}
    assert not {(a, b) for a, b in edges if (b, a) in edges}


def modules() -> dict[str, Path]:
    """Every module by its dotted name; a package by its own."""
    dotted = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    return {name.removesuffix(".__init__"): path for name, path in dotted.items()}


def needed(path: Path, known: set[str]) -> set[str]:
    """The modules that one imports, wherever in it: what only types need, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            # What is no module is a name in the one that it is imported from.
            found |= {name if name in known else node.module for name in inner}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known


def test_no_circle_of_modules() -> None:
    left = {name: needed(path, set(modules())) - {name} for name, path in modules().items()}
    while free := {name for name, wanted in left.items() if not wanted & set(left)}:
        left = {name: wanted for name, wanted in left.items() if name not in free}
    assert sorted(left) == []


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


def test_benchmarks_import_what_is_there() -> None:
    """Nobody runs most of them for months: a name that was moved must not be found out then."""
    gone = []
    for path in sorted((ROOT / "tests" / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qsynth"):
                module = importlib.import_module(node.module or "")
                gone += [f"{path.name}: {x.name}" for x in node.names if not _has(module, x.name)]
    assert gone == []


def _has(module: ModuleType, name: str) -> bool:
    """Whether a module has a name, or is a package with a module of it."""
    if hasattr(module, name):
        return True
    return importlib.util.find_spec(f"{module.__name__}.{name}") is not None
