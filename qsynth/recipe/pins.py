"""Recipes that were added: stored as data beside `qsynth.lock`, which pins each by its SHA-256.

Standard library only: `recipe list` must start at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from qsynth.errors import ConfigError, RecipeError

LOCK, FOLDER = Path("qsynth.lock"), Path("qsynth-recipes")
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hex."""
    return hashlib.sha256(data).hexdigest()


def pins() -> dict[str, dict[str, Any]]:
    """Return what `qsynth.lock` in this folder pins, by name.  Raises ConfigError."""
    if not LOCK.exists():
        return {}
    try:
        read = json.loads(LOCK.read_text(encoding="utf-8"))
        recipes = read["recipes"]
        good = all(
            NAME.match(name) and isinstance(pin["sha256"], str) for name, pin in recipes.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        good = False
    if not good:
        raise ConfigError(f"{LOCK}: not a lock that `qsynth recipe add` has written")
    return dict(recipes)


def pinned_files() -> dict[str, Path]:
    """Return the recipes that were added here, by name."""
    return {name: FOLDER / f"{name}.yaml" for name in sorted(pins())}


def check_pin(name: str) -> Path:
    """Return the file of an added recipe.  Raises RecipeError where it is not what was added."""
    path, pin = FOLDER / f"{name}.yaml", pins()[name]
    try:
        found = sha256(path.read_bytes())
    except OSError as error:
        raise RecipeError(
            f"{path}: {error.strerror}; add it again: qsynth recipe add {pin.get('source', '')}"
        ) from None
    if found != pin["sha256"]:
        raise RecipeError(
            f"{path}: its SHA-256 is {found[:16]}, {LOCK} pins {pin['sha256'][:16]}: it has been "
            f"changed; add it again to accept that"
        )
    return path.resolve()


def pin(name: str, data: bytes, source: str) -> Path:
    """Store a recipe, and pin it.  Raises ConfigError where another is pinned by that name."""
    if not NAME.match(name):
        raise ConfigError(f"--name={name}: must be a plain word")
    known = pins()
    other = known.get(name)
    if other is not None and other.get("source") != source:
        raise ConfigError(f"{name}: already added from {other.get('source')}; give --name")
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.yaml"
    _replace(path, data)
    known[name] = {"sha256": sha256(data), "source": source}
    _replace(LOCK, (json.dumps({"recipes": known}, indent=1, sort_keys=True) + "\n").encode())
    return path


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)
