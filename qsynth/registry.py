"""The options of each config group: ours, and those that installed packages bring.

A package declares in its metadata

    [project.entry-points."qsynth.similarity"]
    spread = "package.module:Spread"

and `similarity=spread` is an option like any other: `Spread` is an options class (`schema.option`)
with the attributes that its group needs (`OPEN`).  To install a package is to trust it.  Standard
library only; a package is imported when one of its options is chosen.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache

from qsynth.errors import ConfigError

# The groups that take options of packages, and what the class of such an option must have.
OPEN = {
    "data": ("load", "load_for", "batch_size", "features", "recipe", "own_name"),
    "distill": ("statistics", "further_shapes", "further", "read", "max_bytes"),
    "encoder": ("encoding", "features", "least", "check_layout", "dimensions"),
    "mesh": ("transport", "of_a_run", "max_message_bytes", "certificates"),
    "model": ("made", "check_at", "size", "kind", "own", "looped", "one_by_one"),
    "partition": ("deal", "drift", "newcomers", "has_groups", "by_classes", "of_sites"),
    "peers": ("choosing",),
    "placement": ("placing", "check_here", "simulated"),
    "similarity": ("size", "vector", "likeness", "fingerprint_dim", "sketched"),
    "synthesis": ("synthesize", "lesson", "needs", "teach"),
}


@cache
def declared() -> dict[str, list[importlib.metadata.EntryPoint]]:
    """Return what installed packages declare for us, by group: their metadata are read once."""
    found = importlib.metadata.entry_points()
    ours = [group for group in found.groups if group.startswith("qsynth.")]
    return {group: list(found.select(group=group)) for group in ours}


def _points(group: str) -> dict[str, importlib.metadata.EntryPoint]:
    if group not in OPEN:
        return {}
    points = declared().get(f"qsynth.{group}", [])
    return {point.name: point for point in points if point.name.isidentifier()}


class Options(Mapping[str, type]):
    """The options of a group by name; an option of ours is never replaced by a package's.

    group: of the config.  own: the options of this package.
    """

    def __init__(self, group: str, own: Mapping[str, type]) -> None:
        self.group, self.own = group, dict(own)
        self._loaded: dict[str, type] = {}

    @property
    def brought(self) -> list[str]:
        """Return the names of the options that installed packages bring."""
        return [name for name in _points(self.group) if name not in self.own]

    def __getitem__(self, name: str) -> type:
        """Return the class of an option.  Raises KeyError, and ConfigError where it is none."""
        if name in self.own:
            return self.own[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(_points(self.group)[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names, ours first."""
        return iter([*self.own, *self.brought])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.own) + len(self.brought)

    def __contains__(self, name: object) -> bool:
        """Return whether there is an option of this name; nothing is imported."""
        return name in self.own or name in _points(self.group)

    def _load(self, point: importlib.metadata.EntryPoint) -> type:
        key = f"{self.group}={point.name}"
        try:
            made = point.load()
        except Exception as error:  # a package of somebody's may raise anything
            raise ConfigError(f"{key}: {point.value} cannot be imported ({error})") from None
        fields = getattr(made, "__dataclass_fields__", {})
        given = fields.get("name")
        if not isinstance(made, type) or given is None or given.default != point.name:
            raise ConfigError(
                f"{key}: {point.value} must be an options class whose name is {point.name}"
            )
        missing = [n for n in OPEN[self.group] if not hasattr(made, n) and n not in fields]
        if missing:
            raise ConfigError(f"{key}: {point.value} needs {', '.join(missing)}")
        return made


def with_packages(groups: Mapping[str, Mapping[str, type]]) -> dict[str, Options]:
    """Return groups of our options with those that installed packages bring."""
    return {
        group: options if isinstance(options, Options) else Options(group, options)
        for group, options in groups.items()
    }


def options_in(group: str, package: str) -> Options:
    """Return the options whose classes stand in the modules of a package: one module an option.

    group: of the config.  A class is an option of the group if its module has the option's name.
    """
    own: dict[str, type] = {}
    found = importlib.import_module(package)
    for module in pkgutil.iter_modules(found.__path__):
        loaded = importlib.import_module(f"{package}.{module.name}")
        for made in vars(loaded).values():
            if not isinstance(made, type) or made.__module__ != loaded.__name__:
                continue
            fields = getattr(made, "__dataclass_fields__", {})
            if "name" in fields and fields["name"].default == module.name:
                own[module.name] = made
    return Options(group, own)
