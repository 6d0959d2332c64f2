"""Give Hydra the folder `recipes/` as the config group `recipe`, each file linted first."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from qsynth.config.groups import GROUPS
from qsynth.recipe.catalog import recipe_files
from qsynth.recipe.entry_points import installed_options
from qsynth.recipe.lint import lint

_own: dict[str, Path] = {}
_trusted: set[str] = set()


def add_recipe(name: str, path: Path) -> None:
    """Make a file available as `recipe=NAME`."""
    _own[name] = path


def file_of(name: str) -> Path | None:
    """Return the file that `add_recipe` has made available under a name."""
    return _own.get(name)


def trust(names: list[str]) -> None:
    """Let recipes name these classes (package.Class), and no others, until the next call."""
    _trusted.clear()
    _trusted.update(names)


def state() -> object:
    """Return what a composition rests on beside its words: recipes, what is trusted, packages."""
    files = []
    for name, path in sorted(_files().items()):
        try:
            told = path.stat()
        except OSError:
            continue
        files.append((name, str(path), told.st_size, told.st_mtime_ns, told.st_ino))
    packages = tuple(
        (group, *installed_options(group).items(), *brought(group)) for group in GROUPS
    )
    return tuple(files), frozenset(_trusted), packages


def brought(group: str) -> list[str]:
    """Return the options that installed packages bring to a group whole."""
    return GROUPS[group].brought if group in GROUPS else []


def _files() -> dict[str, Path]:
    return recipe_files() | _own


class RecipeSource(ConfigSource):
    """Serve recipes under the scheme `recipes://`."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme."""
        return "recipes"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a recipe, after the lint."""
        name = self._normalize_file_name(config_path).removesuffix(".yaml")
        group, _, option = name.partition("/")
        target = installed_options(group).get(option)
        if target is not None:
            return self._result({"name": "module", "target": target}, name, group)
        if option in brought(group):
            return self._result(dataclasses.asdict(GROUPS[group][option]()), name, group)
        path = _files().get(name.removeprefix("recipe/"))
        if path is None:
            raise ConfigLoadError(f"no such recipe: {config_path}")
        return self._result(lint(path, frozenset(_trusted)), str(path), "_global_")

    def _result(self, values: dict[str, Any], name: str, package: str) -> ConfigResult:
        return ConfigResult(
            config=OmegaConf.create(values),
            path=f"recipes://{name}",
            provider=self.provider,
            header={"package": package},
        )

    def available(self) -> bool:
        """Return True: an empty folder is a source as well."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return whether this is the group `recipe`, or one that installed packages add to."""
        there = installed_options(config_path) or brought(config_path)
        return config_path in ("", "recipe") or bool(there)

    def is_config(self, config_path: str) -> bool:
        """Return whether this is one of the recipes, or an option of an installed package."""
        name = config_path.removesuffix(".yaml")
        group, _, option = name.partition("/")
        if option in installed_options(group) or option in brought(group):
            return True
        return name.startswith("recipe/") and name.removeprefix("recipe/") in _files()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names below a path."""
        if config_path == "recipe" and results_filter != ObjectType.GROUP:
            return sorted(_files())
        if config_path == "" and results_filter != ObjectType.CONFIG:
            return ["recipe"]
        return []


class RecipeSearchPath(SearchPathPlugin):
    """Add recipes to every search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the recipes."""
        search_path.append(provider="qsynth", path="recipes://")


def register() -> None:
    """Register both plugins; twice does no harm."""
    plugins: Any = Plugins.instance()
    plugins.register(RecipeSource)
    plugins.register(RecipeSearchPath)
