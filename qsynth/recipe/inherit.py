"""Recipes that build on another: they name it first in their defaults, and say only what differs.

defaults:
  - fmnist_rotations
  - override /peers: sums
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from qsynth.errors import RecipeError, nearest_spelling
from qsynth.recipe.catalog import find_recipe, listed, recipe_files

MOST_BASES = 8  # each builds on the next

Values = dict[str, Any]


def read_yaml(text: str) -> Values:
    """Return the values of a mapping in YAML, read as OmegaConf reads it: 1e-4 is a number."""
    values: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    return dict(values)


def base_of(values: Mapping[str, Any], source: str) -> Path | None:
    """Return the file of the recipe that another builds on.  Raises RecipeError.

    values: of the recipe, as it is written.  source: what it is called in messages.
    """
    defaults = values.get("defaults") or []
    names = [entry for entry in defaults if isinstance(entry, str) and entry != "_self_"]
    if not names:
        return None
    if len(names) > 1 or defaults[0] != names[0]:
        raise RecipeError(f"{source}: defaults: {names[-1]}: one recipe to build on, the first")
    if names[0] not in recipe_files():
        known = nearest_spelling(names[0], listed())
        raise RecipeError(f"{source}: defaults: {names[0]}: no such recipe{known}")
    return find_recipe(names[0])  # one that was added must still be what was pinned


def lineage(values: Values, source: str) -> list[tuple[str, Values]]:
    """Return the recipes behind another, the first of all first, itself last, with their sources.

    Raises RecipeError where they go round in circles.
    """
    found = [(source, values)]
    while (path := base_of(found[0][1], found[0][0])) is not None:
        if len(found) > MOST_BASES or str(path) in [source for source, _ in found]:
            raise RecipeError(
                f"{source}: defaults: builds on {path.stem}, and so on, more than {MOST_BASES} deep"
            )
        found.insert(0, (str(path), read_yaml(path.read_text(encoding="utf-8"))))
    return found


def settings(values: Any, where: str = "") -> Iterator[str]:
    """Return the dotted keys that a recipe sets itself."""
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            if where or key != "defaults":
                yield from settings(value, f"{where}.{key}" if where else str(key))
    else:
        yield where


def choices(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the options that a recipe chooses itself: by `group` or `group@package`."""
    made = {}
    for entry in values.get("defaults") or []:
        for key, option in entry.items() if isinstance(entry, Mapping) else ():
            made[str(key).split()[-1].removeprefix("/")] = str(option)
    return made
