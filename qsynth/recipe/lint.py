"""Lint a recipe's raw YAML before it is composed: a recipe is data, never code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from qsynth.errors import RecipeError

MAX_BYTES = 64 * 1024
FORBIDDEN_KEYS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")
CODE_KEYS = ("target",)  # options that import the user's own class
TOKENS = {
    yaml.AnchorToken: "an anchor",
    yaml.AliasToken: "an alias",
    yaml.TagToken: "a tag",
    yaml.DirectiveToken: "a directive",
}


def lint(path: Path, trusted: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return a recipe's values.  Raises RecipeError, one line, where it could run code.

    trusted: package.Class names that the user's own command line allows.
    """
    text = _read(path)
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            for kind, what in TOKENS.items():
                if isinstance(token, kind):
                    line = token.start_mark.line + 1
                    raise RecipeError(f"{path}:{line}: {what} is not allowed in a recipe")
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise RecipeError(f"{path}: not YAML ({first})") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe must be a mapping")
    for where, key, value in _walk(values, ""):
        _check_key(path, where, key, value, trusted)
    _check_defaults(path, values.get("defaults", []))
    return values


def _read(path: Path) -> str:
    data = path.read_bytes()
    if len(data) > MAX_BYTES:
        raise RecipeError(f"{path}: {len(data)} bytes, a recipe has at most {MAX_BYTES}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8 text") from None


def _walk(values: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(values, dict):
        for key, value in values.items():
            full = f"{where}.{key}" if where else str(key)
            yield full, str(key), value
            yield from _walk(value, full)
    elif isinstance(values, list):
        for at, value in enumerate(values):
            yield f"{where}[{at}]", "", value
            yield from _walk(value, f"{where}[{at}]")


def _check_key(path: Path, where: str, key: str, value: Any, trusted: frozenset[str]) -> None:
    if key in FORBIDDEN_KEYS or key == "hydra" or where.split(".")[0].split("@")[0] == "hydra":
        raise RecipeError(f"{path}: {where} is not allowed in a recipe")
    if "${" in key or (isinstance(value, str) and "${" in value and ":" in value):
        raise RecipeError(f"{path}: {where}: resolvers are not allowed in a recipe")
    if key in CODE_KEYS and isinstance(value, str) and value and value not in trusted:
        raise RecipeError(f"{path}: {where}={value} imports code; allow it with --trust {value}")


def _check_defaults(path: Path, defaults: Any) -> None:
    if not isinstance(defaults, list):
        raise RecipeError(f"{path}: defaults must be a list")
    for entry in defaults:
        text = str(entry)
        names = list(entry) + list(entry.values()) if isinstance(entry, dict) else [entry]
        for name in map(str, names):
            bare = name.removeprefix("override ").strip().lstrip("/")
            if bare.split("/")[0].split("@")[0] == "hydra":
                raise RecipeError(f"{path}: defaults: {text}: hydra is not configured by a recipe")
            if ".." in name or "://" in name or bare.startswith("/"):
                raise RecipeError(f"{path}: defaults: {text}: paths are not allowed")
