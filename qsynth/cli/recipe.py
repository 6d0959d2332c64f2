"""`qsynth recipe list|show`.  Standard library only."""

from __future__ import annotations

from qsynth.errors import ConfigError, nearest_spelling
from qsynth.recipe.finder import find_recipe, recipe_files, title

VERBS = ("list", "show")


def main(words: list[str]) -> int:
    """List the shipped recipes, or print one."""
    verb = words[0] if words else "list"
    if verb == "list":
        for name, path in recipe_files().items():
            print(f"{name:18} {title(path)}")
        return 0
    if verb == "show" and len(words) == 2:
        print(find_recipe(words[1]).read_text(encoding="utf-8"), end="")
        return 0
    if verb == "show":
        raise ConfigError(
            "recipe show: needs one name or path, e.g. qsynth recipe show digits_mesh"
        )
    raise ConfigError(f"recipe {verb}: no such verb{nearest_spelling(verb, VERBS)}")
