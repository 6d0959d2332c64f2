"""Find shipped configs and recipes.  Standard library only: `recipe list` must start at once."""

from __future__ import annotations

from pathlib import Path

from qsynth.errors import ConfigError, nearest_spelling
from qsynth.recipe.entry_points import installed_recipes
from qsynth.recipe.pins import check_pin, pinned_files

PACKAGE = Path(__file__).resolve().parent.parent


def shipped(folder: str) -> Path:
    """Return the folder `conf` or `recipes`: inside the package, or beside it."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def recipe_files() -> dict[str, Path]:
    """Return all recipes by name: shipped, of installed packages, added here."""
    own = {path.stem: path for path in sorted(shipped("recipes").glob("*.yaml"))}
    return installed_recipes() | own | {n: p for n, p in pinned_files().items() if n not in own}


def listed() -> dict[str, Path]:
    """Return the recipes that are there to be run: not those that others only build on."""
    return {name: path for name, path in recipe_files().items() if not name.startswith("_")}


def title(path: Path) -> str:
    """Return a recipe's title: its first comment line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            text = line.lstrip("# ").strip()
            if line.startswith("#") and text and not text.startswith("@package"):
                return text
    return ""


def find_recipe(name: str) -> Path:
    """Return the file of a recipe: a shipped name, or a path.  Raises ConfigError."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"recipe={name}: no such file")
        stored = path.resolve()
        for pinned_name, pinned in pinned_files().items():
            if pinned.resolve() == stored:
                return check_pin(pinned_name)
        return stored
    files = recipe_files()
    if name not in files:
        raise ConfigError(f"recipe={name}: no such recipe{nearest_spelling(name, listed())}")
    added = pinned_files().get(name)
    return check_pin(name) if added is not None and added == files[name] else files[name]
