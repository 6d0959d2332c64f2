"""What other installed packages bring: options and recipes, by entry points.  Standard library.

A package declares in its metadata

    [project.entry-points."qsynth.options"]
    "model.tiny" = "package.module:Class"      an option of a group that takes a user's own class
    [project.entry-points."qsynth.recipes"]
    package = "package.recipes"                a package that holds *.yaml

To install a package is to trust it: the classes it names need no `--trust`.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from qsynth.registry import declared

OPTIONS, RECIPES = "qsynth.options", "qsynth.recipes"
OPEN_GROUPS = ("model", "data", "encoder", "similarity")  # those with an option `module`


@cache
def _declared() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {group: {} for group in OPEN_GROUPS}
    for point in declared().get(OPTIONS, []):
        group, _, name = point.name.partition(".")
        if group in found and name.isidentifier():
            found[group][name] = point.value.replace(":", ".")
    return found


def installed_options(group: str) -> dict[str, str]:
    """Return the options that packages bring to a group: package.Class by name."""
    return dict(_declared().get(group, {}))


def installed_targets() -> frozenset[str]:
    """Return every class that an installed package declares."""
    return frozenset(value for options in _declared().values() for value in options.values())


@cache
def installed_recipes() -> dict[str, Path]:
    """Return the recipes that packages bring, by name."""
    found: dict[str, Path] = {}
    for point in declared().get(RECIPES, []):
        try:
            spec = importlib.util.find_spec(point.value)
        except (ImportError, ValueError):
            continue
        for place in (spec.submodule_search_locations or []) if spec else []:
            found |= {path.stem: path for path in sorted(Path(place).glob("*.yaml"))}
    return found
